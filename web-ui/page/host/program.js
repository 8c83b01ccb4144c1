/**
 * What the desktop client's program has to say, and the words of its menu. No DOM.
 *
 * @import { Key } from '../words/t.js'
 * @import { Message } from '../words/messages.js'
 * @import { ProgramNotice } from './host.js'
 */

import { t } from '../words/t.js';

/** Tone, title and text. @type {Record<ProgramNotice['code'], readonly [Message['tone'], Key, Key]>} */
const SAID = {
  settings_bad: ['warning', 'host.settings_bad.title', 'host.settings_bad.text'],
  settings_unsaved: ['warning', 'host.settings_unsaved.title', 'host.settings_unsaved.text'],
  shortcut_taken: ['warning', 'host.shortcut_taken.title', 'host.shortcut_taken.text'],
  autostart_failed: ['warning', 'host.autostart_failed.title', 'host.autostart_failed.text'],
  overlay_failed: ['error', 'host.overlay_failed.title', 'host.overlay_failed.text'],
  update_ready: ['info', 'host.update_ready.title', 'host.update_ready.text'],
};

/** @type {readonly Key[]} */
const MENU = ['tray.start', 'tray.stop', 'tray.pause', 'tray.resume', 'tray.overlay', 'tray.through', 'tray.settings', 'tray.history', 'tray.quit'];

/** @param {ProgramNotice} notice @returns {Message | null} null for one of a newer program */
export function programMessage({ code, about }) {
  const said = SAID[code];
  if (!said) return null;
  const [tone, title, text] = said;
  const shown = t(text, { about });
  // What it is about is said where the sentence has no place for it.
  return { tone, title: t(title), text: shown, ...(about && !shown.includes(about) && { detail: about }) };
}

/** Said once where a sign-in ends with the program. @returns {Message} */
export function sessionOnlyMessage() {
  return { tone: 'info', title: t('host.session_only.title'), text: t('host.session_only.text') };
}

/** @returns {Record<string, string>} the words of the menu by their keys */
export function menuWords() {
  return Object.fromEntries(MENU.map((key) => [key, t(key)]));
}
