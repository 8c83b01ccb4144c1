/**
 * Which program the page is in.
 *
 * @import { SignInState } from '../people/sign-in.js'
 * @import { Host } from './host.js'
 */

import { browserHost } from './browser.js';
import { desktopHost } from './desktop.js';

/**
 * @param {(state: SignInState) => void} [changed] told whenever who is signed in changes
 * @returns {Host}
 */
export function chooseHost(changed = () => {}) {
  return '__TAURI__' in globalThis ? desktopHost(changed) : browserHost(changed);
}
