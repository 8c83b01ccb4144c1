/**
 * The desktop client's own settings, at the end of the sheet. Kept by the program, in Rust; a choice it does not take is
 * said, and what it holds is shown again.
 *
 * @import { Key } from '../words/t.js'
 * @import { Tauri } from './tauri.js'
 */

import { make, say } from './dom.js';
import { choose, row, section, toggle } from './fields.js';
import { shortcutOf } from './shortcut.js';
import { t } from '../words/t.js';

/**
 * @typedef {object} Kept As the program keeps them.
 * @property {'server' | 'local'} mode
 * @property {string} server `https://HOST`, or `http://127.0.0.1:PORT`.
 * @property {string} model A folder; empty for the models that came along.
 * @property {{ toggle: string, overlay: string, through: string }} shortcuts
 * @property {boolean} autostart
 * @property {boolean} tray
 * @property {boolean} updates
 * @property {boolean} overlay Whether it is shown.
 * @property {boolean} through Whether clicks pass through it.
 */

const MODES = /** @type {const} */ (['server', 'local']);
const SHORTCUTS = /** @type {const} */ (['toggle', 'overlay', 'through']);
/** Why the program takes a choice not. */
const FAULTS = /** @type {const} */ (['no_local', 'bad_server', 'no_model', 'bad_shortcut', 'updates']);
/** In the order shown. */
const SWITCHES = /** @type {const} */ (['overlay', 'through', 'tray', 'autostart', 'updates']);

export class DesktopSettings {
  #invoke;
  /** @type {Kept | null} */
  #kept = null;
  /** @type {((kept: Kept) => void)[]} */
  #fill = [];
  #fault = make('p', 'fault');

  /** @param {HTMLElement} root @param {Tauri} tauri */
  constructor(root, tauri) {
    this.#invoke = tauri.core.invoke;
    this.#fault.setAttribute('role', 'alert');
    root.append(section('settings.desktop', this.#fault, ...this.#source(), ...this.#switches(), this.#updates(), this.#shortcuts()));
    void tauri.event.listen('settings', ({ payload }) => this.#show(payload));
  }

  /** Asks the program what it holds. */
  async load() {
    await this.#ask(() => this.#invoke('settings'));
  }

  /** @param {Partial<Kept>} choice */
  async #set(choice) {
    if (!this.#kept) return;
    const settings = { ...this.#kept, ...choice };
    await this.#ask(() => this.#invoke('set_settings', { settings }));
  }

  /** @param {() => Promise<Kept>} work */
  async #ask(work) {
    try {
      this.#show(await work());
      this.#fault.textContent = '';
    } catch (error) {
      if (this.#kept) this.#show(this.#kept);
      this.#fault.textContent = refusal(error);
    }
  }

  /** @param {Kept} kept */
  #show(kept) {
    if (!kept) return;
    this.#kept = kept;
    for (const fill of this.#fill) fill(kept);
  }

  /** Where captions come from. */
  #source() {
    const mode = choose('desktop-mode', MODES, (value) => `settings.desktop.mode.${value}`, (value) => void this.#set({ mode: value }));
    const server = this.#text('url', (value) => ({ server: value }));
    const model = this.#text('text', (value) => ({ model: value }));
    const ofServer = row('settings.desktop.server', server, 'settings.desktop.server.about');
    const ofModel = row('settings.desktop.model', model, 'settings.desktop.model.about');
    const local = say('p', 'settings.desktop.local.about', 'about');
    this.#fill.push((kept) => {
      mode.set(kept.mode);
      server.value = kept.server;
      model.value = kept.model;
      ofServer.hidden = kept.mode !== 'server';
      ofModel.hidden = kept.mode !== 'local';
      local.hidden = kept.mode !== 'local';
    });
    return [row('settings.desktop.mode', mode.root), ofServer, ofModel, local];
  }

  /** @param {'url' | 'text'} type @param {(value: string) => Partial<Kept>} choice */
  #text(type, choice) {
    const input = make('input', 'wide');
    input.type = type;
    input.dir = 'ltr';
    input.spellcheck = false;
    input.autocapitalize = 'off';
    input.addEventListener('change', () => void this.#set(choice(input.value.trim())));
    return input;
  }

  #switches() {
    return SWITCHES.map((name) => {
      const { root, box } = toggle(`settings.desktop.${name}`, (on) => void this.#set({ [name]: on }));
      this.#fill.push((kept) => (box.checked = kept[name]));
      return root;
    });
  }

  /** Looks for a newer version at once. */
  #updates() {
    const root = make('div', 'check');
    const button = say('button', 'settings.desktop.check', 'quiet');
    const said = make('p', 'about');
    button.type = 'button';
    said.setAttribute('role', 'status');
    button.addEventListener('click', async () => {
      button.disabled = true;
      said.textContent = t('settings.desktop.checking');
      try {
        const { version } = await this.#invoke('check_updates');
        said.textContent = version ? t('settings.desktop.newer', { version }) : t('settings.desktop.newest');
      } catch (error) {
        said.textContent = refusal(error);
      }
      button.disabled = false;
    });
    root.append(button, said);
    return root;
  }

  #shortcuts() {
    const list = make('fieldset', 'shortcuts');
    list.append(say('legend', 'settings.desktop.shortcuts'), ...SHORTCUTS.map((name) => this.#shortcut(name)), say('p', 'settings.desktop.shortcuts.about', 'about'));
    return list;
  }

  /** @param {typeof SHORTCUTS[number]} name */
  #shortcut(name) {
    const input = make('input');
    input.dir = 'ltr';
    input.readOnly = true;
    input.setAttribute('data-t-placeholder', 'settings.desktop.shortcut.press');
    input.addEventListener('keydown', (event) => {
      const pressed = shortcutOf(event);
      // Tab and Escape stay what they are.
      if (pressed === null) return;
      event.preventDefault();
      event.stopPropagation();
      if (this.#kept) void this.#set({ shortcuts: { ...this.#kept.shortcuts, [name]: pressed } });
    });
    this.#fill.push(({ shortcuts }) => (input.value = shortcuts[name]));
    return row(/** @type {Key} */ (`settings.desktop.shortcut.${name}`), input);
  }
}

/** @param {unknown} error why the program did not do as it was asked @returns {string} */
function refusal(error) {
  const { fault, message = String(error) } = /** @type {{ fault?: string, message?: string }} */ (Object(error));
  const known = FAULTS.find((each) => each === fault);
  return known ? t(`settings.desktop.fault.${known}`) : t('settings.desktop.fault', { message });
}
