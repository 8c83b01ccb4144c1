/**
 * The bars above and below the captions: start, stop and pause, level, connection, latency, size, theme, notices; and the
 * keys for all of it. Knows the DOM and nothing of sockets or sound.
 *
 * @import { Message } from '../words/messages.js'
 * @import { Settings } from './settings.js'
 * @import { SignInState } from '../people/sign-in.js'
 */

import { onSpoken, seconds, speak, t } from '../words/t.js';
import { byId, label, localise } from './dom.js';
import { Languages } from './languages.js';
import { Notices } from './notices.js';
import { follow, save, SCALES, THEMES } from './settings.js';
import { SettingsDialog } from './settings-dialog.js';
import { tauri } from './tauri.js';

/** Louder than this and the recogniser hears distortion. */
const CLIPPING = 0.99;
/** Quietest level the meter shows, in decibels below full scale. */
const FLOOR_DB = 60;

/**
 * @typedef {'idle' | 'signed_out' | 'asking' | 'connecting' | 'open' | 'paused' | 'reconnecting' | 'stopping' | 'failed'} Phase
 *
 * @typedef {object} ControlsListener
 * @property {() => void} toggle start, stop, or sign in
 * @property {() => void} [pause] pause, or go on
 * @property {() => void} signOut
 * @property {() => void} finalize
 * @property {() => void} languages source, targets or glossary have changed
 * @property {() => void} [settings] anything else that is remembered has changed, here or in another window
 */

/** What the button does. @type {Record<Phase, import('../words/t.js').Key>} */
const BUTTONS = {
  idle: 'page.start',
  signed_out: 'page.signIn',
  asking: 'page.cancel',
  connecting: 'page.cancel',
  open: 'page.stop',
  paused: 'page.stop',
  reconnecting: 'page.stop',
  stopping: 'page.stop',
  failed: 'page.start',
};

/** Phases in which there is a session, or soon will be. @type {Set<Phase>} */
const LIVE = new Set(['connecting', 'open', 'paused', 'reconnecting', 'stopping']);

export class Controls {
  #toggle = byId('toggle', HTMLButtonElement);
  #pause = byId('pause', HTMLButtonElement);
  #finalize = byId('finalize', HTMLButtonElement);
  #state = byId('state', HTMLElement);
  #lag = byId('lag', HTMLElement);
  #meter = byId('meter', HTMLElement);
  #theme = byId('theme', HTMLButtonElement);
  #notices = new Notices();
  #settings;
  #listener;
  #languages;
  #dialog;
  /** @type {Phase} */
  #phase = 'idle';
  /** @type {SignInState} */
  #person = { offered: false, person: null, provider: '', unclear: false };
  /** @type {[number | null, number | null]} */
  #latency = [null, null];
  /** Says again what stands beside the state. @type {() => string} */
  #aside = () => '';

  /** @param {Settings} settings kept up to date as the reader chooses @param {ControlsListener} listener */
  constructor(settings, listener) {
    this.#settings = settings;
    this.#listener = listener;
    this.#speak();
    this.#languages = new Languages(settings, () => {
      save(settings);
      listener.languages();
    });
    this.#dialog = new SettingsDialog(settings, (what) => {
      save(settings);
      this.#changed(what);
    });
    follow(settings, () => {
      this.#changed('all');
      this.#dialog.refresh();
    });
    onSpoken(() => this.#again());
    if (tauri()) byId('privacy-note', HTMLElement).dataset.t = 'page.privacy.desktop';
    this.#listen();
    this.#dress();
    this.#again();
  }

  /** @param {Phase} phase */
  phase(phase) {
    this.#phase = phase;
    this.#state.dataset.state = phase;
    byId('state-text', HTMLElement).textContent = t(`page.phase.${phase}`);
    this.#toggle.textContent = t(BUTTONS[phase]);
    this.#toggle.setAttribute('aria-pressed', String(LIVE.has(phase) && phase !== 'connecting'));
    this.#toggle.disabled = phase === 'stopping';
    this.#finalize.disabled = phase !== 'open';
    const paused = phase === 'paused';
    this.#pause.disabled = !paused && phase !== 'open' && phase !== 'reconnecting';
    this.#pause.setAttribute('aria-pressed', String(paused));
    label(this.#pause, paused ? 'page.resume' : 'page.pause');
    this.#pause.title = t(paused ? 'page.resume' : 'page.pause');
    byId('pause-icon', SVGUseElement).setAttribute('href', paused ? '#i-resume' : '#i-pause');
    if (!LIVE.has(phase) || paused) this.level(0);
  }

  /** @param {SignInState} state */
  person(state) {
    this.#person = state;
    const { offered, person, provider } = state;
    byId('person', HTMLElement).hidden = !person;
    byId('person-name', HTMLElement).textContent = person ? (person.name ?? person.email ?? t('page.signedIn')) : '';
    byId('person-name', HTMLElement).title = person?.email ?? '';
    const lead = provider ? t('page.leadSignInWith', { provider }) : t('page.leadSignIn');
    byId('lead', HTMLElement).textContent = offered && !person ? lead : t('page.lead');
  }

  /** @param {number} peak 0 to 1 */
  level(peak) {
    const db = peak > 0 ? 20 * Math.log10(peak) : -FLOOR_DB;
    const shown = Math.max(0, 1 + db / FLOOR_DB);
    this.#meter.style.setProperty('--level', shown.toFixed(3));
    this.#meter.setAttribute('aria-valuenow', String(Math.round(shown * 100)));
    this.#meter.toggleAttribute('data-clipping', peak >= CLIPPING);
  }

  /** @param {number | null} source milliseconds @param {number | null} target milliseconds */
  latency(source, target) {
    this.#latency = [source, target];
    byId('latency-source', HTMLElement).textContent = source === null ? '–' : seconds(source);
    byId('latency-target', HTMLElement).textContent = target === null ? '–' : seconds(target);
  }

  /** @param {number} behindMs 0 when captions keep up */
  lag(behindMs) {
    this.#tell(() => (behindMs > 0 ? t('page.behind', { time: seconds(behindMs) }) : ''));
  }

  /** What is said is kept until there is a connection again. */
  keeping() {
    this.#tell(() => t('page.keeping'));
  }

  /** @param {() => string} aside */
  #tell(aside) {
    this.#aside = aside;
    const text = aside();
    if (this.#lag.textContent !== text) this.#lag.textContent = text;
  }

  /** @param {number} most targets the server takes */
  limit(most) {
    this.#languages.limit(most);
  }

  /** @param {readonly { key: string, message: Message }[]} notices @param {(key: string) => void} dismiss */
  notices(notices, dismiss) {
    this.#notices.show(notices, dismiss);
  }

  /** Opens the settings. */
  openSettings() {
    this.#dialog.open();
  }

  #listen() {
    const listener = this.#listener;
    this.#toggle.addEventListener('click', () => listener.toggle());
    this.#pause.addEventListener('click', () => listener.pause?.());
    this.#finalize.addEventListener('click', () => listener.finalize());
    byId('sign-out', HTMLButtonElement).addEventListener('click', () => listener.signOut());
    byId('smaller', HTMLButtonElement).addEventListener('click', () => this.#resize(-1));
    byId('larger', HTMLButtonElement).addEventListener('click', () => this.#resize(1));
    byId('open-settings', HTMLButtonElement).addEventListener('click', () => this.openSettings());
    this.#theme.addEventListener('click', () => this.#nextTheme());
    document.addEventListener('keydown', (event) => this.#key(event));
    const drops = () => document.querySelectorAll('details.drop');
    document.addEventListener('click', ({ target }) => {
      for (const drop of drops()) if (target instanceof Node && target.isConnected && !drop.contains(target)) drop.removeAttribute('open');
    });
    globalThis.addEventListener('languagechange', () => this.#speak());
  }

  /** Something was chosen in the settings or in another window. @param {import('./settings-dialog.js').Changed} what */
  #changed(what) {
    this.#speak();
    this.#dress();
    this.#languages.list();
    if (what === 'glossary' || what === 'all') this.#listener.languages();
    this.#listener.settings?.();
  }

  #speak() {
    speak(this.#settings.language, navigator.languages);
  }

  /** Says everything again, in the page's language. */
  #again() {
    localise(document);
    this.phase(this.#phase);
    this.person(this.#person);
    this.latency(...this.#latency);
    this.#tell(this.#aside);
    this.#languages.list();
    this.#nameTheme();
  }

  /** @param {number} step */
  #resize(step) {
    this.#settings.scale = Math.max(0, Math.min(SCALES.length - 1, this.#settings.scale + step));
    this.#remember();
  }

  #nextTheme() {
    this.#settings.theme = THEMES[(THEMES.indexOf(this.#settings.theme) + 1) % THEMES.length] ?? 'auto';
    this.#remember();
  }

  #remember() {
    save(this.#settings);
    this.#dress();
    this.#dialog.refresh();
    this.#listener.settings?.();
  }

  /** Puts the choices about the looks into effect. */
  #dress() {
    const { scale, theme, contrast, font, layout } = this.#settings;
    const root = document.documentElement;
    root.style.setProperty('--scale', String(SCALES[scale] ?? 1));
    Object.assign(root.dataset, { theme, contrast, font, layout });
    byId('theme-icon', SVGUseElement).setAttribute('href', `#i-${theme}`);
    this.#nameTheme();
    byId('smaller', HTMLButtonElement).disabled = scale === 0;
    byId('larger', HTMLButtonElement).disabled = scale === SCALES.length - 1;
  }

  #nameTheme() {
    const name = t('page.theme', { theme: t(`settings.theme.${this.#settings.theme}`) });
    this.#theme.setAttribute('aria-label', name);
    this.#theme.title = name;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === 'Escape') {
      const drop = document.querySelector('details.drop[open]');
      drop?.removeAttribute('open');
      drop?.querySelector('summary')?.focus();
      return;
    }
    const action = (event.ctrlKey || event.metaKey) && !event.altKey && !event.repeat && this.#action(event);
    if (!action) return;
    event.preventDefault();
    action();
  }

  /** @param {KeyboardEvent} event with Ctrl held @returns {(() => void) | null} */
  #action({ key, code, shiftKey }) {
    if (key === 'Enter' && !shiftKey) return () => this.#toggle.click();
    if (code === 'Space' && shiftKey) return () => this.#pause.click();
    if (key === ',' && !shiftKey) return () => this.openSettings();
    if (code === 'KeyH' && shiftKey) return () => byId('open-history', HTMLButtonElement).click();
    return null;
  }
}
