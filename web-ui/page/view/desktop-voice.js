/**
 * Between the page and the desktop client around it: the words of its tray, in the page's language, and what it has to say.
 *
 * @import { Message } from '../words/messages.js'
 * @import { Tauri } from './tauri.js'
 */

import { onSpoken, t } from '../words/t.js';

/** What stands in the tray's menu. */
const TRAY = /** @type {const} */ (['start', 'stop', 'pause', 'resume', 'overlay', 'through', 'settings', 'history', 'quit']);
/** What it may say, and how grave it is. */
const TONES = /** @type {const} */ ({
  settings_bad: 'warning',
  settings_unsaved: 'error',
  shortcut_taken: 'warning',
  autostart_failed: 'warning',
  overlay_failed: 'error',
  update_ready: 'info',
});

/** @typedef {{ code: keyof typeof TONES, about: string }} Notice */

export class DesktopVoice {
  /** @type {Map<string, Notice>} */
  #notices = new Map();
  #said;

  /** @param {Tauri} tauri @param {() => void} said told when there is more to say, or it is said in another language */
  constructor({ core: { invoke }, event }, said) {
    this.#said = said;
    const name = () => void invoke('set_words', { words: Object.fromEntries(TRAY.map((item) => [`tray.${item}`, t(`tray.${item}`)])) }).catch(() => {});
    name();
    onSpoken(name);
    void event.listen('notice', ({ payload }) => this.#take([payload]));
    void invoke('notices').then((notices) => this.#take(notices)).catch(() => {});
  }

  /** @returns {{ key: string, message: Message }[]} */
  get notices() {
    return [...this.#notices].map(([key, { code, about }]) => ({
      key,
      message: { tone: TONES[code], title: t(`desktop.${code}`, { about }), text: t(`desktop.${code}.todo`, { about }) },
    }));
  }

  /** @param {string} key @returns {boolean} whether it was one of these */
  dismiss(key) {
    return this.#notices.delete(key);
  }

  /** @param {Notice[] | null} notices */
  #take(notices) {
    for (const notice of notices ?? []) if (notice.code in TONES) this.#notices.set(`desktop ${notice.code} ${notice.about}`, notice);
    this.#said();
  }
}
