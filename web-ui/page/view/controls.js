/**
 * The bars above and below the captions: start and stop, languages, level, connection, latency, size, theme, notices.
 * Knows the DOM and nothing of sockets or sound.
 *
 * @import { Message } from '../words/messages.js'
 * @import { Settings } from './settings.js'
 * @import { SignInState } from '../people/sign-in.js'
 */

import { byId, make } from './dom.js';
import { nameOf, OFFERED, parseTag } from '../words/languages.js';
import { MAX_TARGETS } from '../link/protocol.js';
import { save, SCALES, THEMES } from './settings.js';

/** Louder than this and the recogniser hears distortion. */
const CLIPPING = 0.99;
/** Quietest level the meter shows, in decibels below full scale. */
const FLOOR_DB = 60;

/**
 * @typedef {'idle' | 'signed_out' | 'asking' | 'connecting' | 'open' | 'paused' | 'reconnecting' | 'stopping' | 'failed'} Phase
 *
 * @typedef {object} ControlsListener
 * @property {() => void} toggle start, stop, or sign in
 * @property {() => void} [pause]
 * @property {() => void} signOut
 * @property {() => void} finalize
 * @property {() => void} languages source or targets have changed
 */

const THEME_SIGNS = { auto: '◐', light: '☀', dark: '☾' };

/** @type {Record<Phase, { text: string, button: string }>} */
const PHASES = {
  idle: { text: 'Not listening', button: 'Start' },
  signed_out: { text: 'Signed out', button: 'Sign in' },
  asking: { text: 'Waiting for the microphone', button: 'Cancel' },
  connecting: { text: 'Connecting', button: 'Cancel' },
  open: { text: 'Listening', button: 'Stop' },
  paused: { text: 'Paused', button: 'Stop' },
  reconnecting: { text: 'Reconnecting…', button: 'Stop' },
  stopping: { text: 'Finishing the last words', button: 'Stop' },
  failed: { text: 'Not connected', button: 'Start' },
};

/** Phases in which there is a session, or soon will be. @type {Set<Phase>} */
const LIVE = new Set(['connecting', 'open', 'reconnecting', 'stopping']);

export class Controls {
  #toggle = byId('toggle', HTMLButtonElement);
  #finalize = byId('finalize', HTMLButtonElement);
  #state = byId('state', HTMLElement);
  #stateText = byId('state-text', HTMLElement);
  #lag = byId('lag', HTMLElement);
  #meter = byId('meter', HTMLElement);
  #source = byId('source', HTMLSelectElement);
  #targets = byId('targets', HTMLDetailsElement);
  #summary = byId('targets-summary', HTMLElement);
  #choices = byId('choices', HTMLElement);
  #tag = byId('tag', HTMLInputElement);
  #fault = byId('tag-fault', HTMLElement);
  #theme = byId('theme', HTMLButtonElement);
  #settings;
  #listener;
  #maxTargets = MAX_TARGETS;

  /** @param {Settings} settings kept up to date as the reader chooses @param {ControlsListener} listener */
  constructor(settings, listener) {
    this.#settings = settings;
    this.#listener = listener;
    this.#toggle.addEventListener('click', () => listener.toggle());
    this.#finalize.addEventListener('click', () => listener.finalize());
    this.#source.addEventListener('change', () => this.#choose({ source: this.#source.value }));
    byId('sign-out', HTMLButtonElement).addEventListener('click', () => listener.signOut());
    byId('add', HTMLFormElement).addEventListener('submit', (event) => this.#add(event));
    byId('smaller', HTMLButtonElement).addEventListener('click', () => this.#resize(-1));
    byId('larger', HTMLButtonElement).addEventListener('click', () => this.#resize(1));
    this.#theme.addEventListener('click', () => this.#nextTheme());
    document.addEventListener('keydown', (event) => this.#key(event));
    document.addEventListener('click', (event) => {
      if (event.target instanceof Node && !this.#targets.contains(event.target)) this.#targets.open = false;
    });
    this.#listLanguages();
    this.#dress();
  }

  /** @param {Phase} phase */
  phase(phase) {
    const { text, button } = PHASES[phase];
    this.#state.dataset.state = phase;
    this.#stateText.textContent = text;
    this.#toggle.textContent = button;
    this.#toggle.setAttribute('aria-pressed', String(LIVE.has(phase) && phase !== 'connecting'));
    this.#toggle.disabled = phase === 'stopping';
    this.#finalize.disabled = phase !== 'open';
    if (!LIVE.has(phase)) this.level(0);
  }

  /** @param {SignInState} state */
  person({ offered, person, provider }) {
    byId('person', HTMLElement).hidden = !person;
    byId('person-name', HTMLElement).textContent = person ? (person.name ?? person.email ?? 'Signed in') : '';
    byId('person-name', HTMLElement).title = person?.email ?? '';
    byId('lead', HTMLElement).textContent = offered && !person ? `Sign in${provider ? ` with ${provider}` : ''}, then press Start and speak.` : 'Press Start and speak.';
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
    byId('latency-source', HTMLElement).textContent = seconds(source);
    byId('latency-target', HTMLElement).textContent = seconds(target);
  }

  /** @param {number} behindMs 0 when captions keep up */
  lag(behindMs) {
    this.#tell(behindMs > 0 ? `Captions are ${(behindMs / 1000).toFixed(1)} s behind` : '');
  }

  /** What is said is kept until there is a connection again. */
  keeping() {
    this.#tell('What you say meanwhile is kept');
  }

  /** @param {string} text */
  #tell(text) {
    if (this.#lag.textContent !== text) this.#lag.textContent = text;
  }

  /** @param {number} most targets the server takes */
  limit(most) {
    this.#maxTargets = most;
    this.#listLanguages();
  }

  /** @param {readonly { key: string, message: Message }[]} notices @param {(key: string) => void} dismiss */
  notices(notices, dismiss) {
    byId('notices', HTMLElement).replaceChildren(
      ...notices.map(({ key, message }) => {
        const notice = make('div', 'notice');
        notice.dataset.tone = message.tone;
        notice.append(make('p', 'title', message.title), make('p', '', message.text));
        if (message.detail) notice.append(make('p', 'detail', message.detail));
        const close = make('button', 'quiet', 'Dismiss');
        close.type = 'button';
        close.addEventListener('click', () => dismiss(key));
        notice.append(close);
        return notice;
      }),
    );
  }

  /** @param {Partial<Settings>} choice */
  #choose(choice) {
    Object.assign(this.#settings, choice);
    save(this.#settings);
    this.#listLanguages();
    this.#listener.languages();
  }

  #listLanguages() {
    const { source, targets, added } = this.#settings;
    const tags = [...new Set([...OFFERED, ...added, ...targets])];
    const sources = ['auto', ...new Set([...tags, ...(source === 'auto' ? [] : [source])])];
    this.#source.replaceChildren(
      ...sources.map((tag) => {
        const option = make('option', '', tag === 'auto' ? 'Detect the language' : `${nameOf(tag)} (${tag})`);
        option.value = tag;
        return option;
      }),
    );
    this.#source.value = source;
    const focused = [...this.#choices.querySelectorAll('input')].find((box) => box === document.activeElement)?.value;
    const choices = tags.map((tag) => this.#choice(tag));
    this.#choices.replaceChildren(...choices.map(({ label }) => label));
    choices.find(({ box }) => box.value === focused)?.box.focus();
    this.#summary.textContent = targets.length ? targets.map(nameOf).join(', ') : 'nothing';
  }

  /** @param {string} tag */
  #choice(tag) {
    const { targets } = this.#settings;
    const box = make('input');
    box.type = 'checkbox';
    box.value = tag;
    box.checked = targets.includes(tag);
    box.disabled = !box.checked && targets.length >= this.#maxTargets;
    box.addEventListener('change', () =>
      this.#choose({ targets: box.checked ? [...targets, tag] : targets.filter((held) => held !== tag) }),
    );
    const label = make('label');
    const name = make('span', '', nameOf(tag));
    name.lang = tag;
    label.append(box, name, make('span', 'tag', tag));
    return { box, label };
  }

  /** @param {SubmitEvent} event */
  #add(event) {
    event.preventDefault();
    const { targets, added } = this.#settings;
    const tag = parseTag(this.#tag.value);
    const full = targets.length >= this.#maxTargets;
    this.#fault.textContent = !tag
      ? 'That is not a BCP-47 language tag; pt-BR and zh-Hant are.'
      : full
        ? `The server takes ${this.#maxTargets} languages at most; take one away first.`
        : '';
    this.#tag.setAttribute('aria-invalid', String(!tag || full));
    if (!tag || full) return;
    this.#tag.value = '';
    this.#choose({ targets: [...new Set([...targets, tag])], added: OFFERED.includes(tag) ? added : [...new Set([...added, tag])] });
  }

  /** @param {number} step */
  #resize(step) {
    this.#settings.scale = Math.max(0, Math.min(SCALES.length - 1, this.#settings.scale + step));
    this.#dress();
  }

  #nextTheme() {
    this.#settings.theme = THEMES[(THEMES.indexOf(this.#settings.theme) + 1) % THEMES.length] ?? 'auto';
    this.#dress();
  }

  #dress() {
    const { scale, theme } = this.#settings;
    const root = document.documentElement;
    root.style.setProperty('--scale', String(SCALES[scale] ?? 1));
    if (theme === 'auto') delete root.dataset.theme;
    else root.dataset.theme = theme;
    this.#theme.textContent = THEME_SIGNS[theme];
    this.#theme.setAttribute('aria-label', `Theme: ${theme}`);
    this.#theme.title = `Theme: ${theme}`;
    byId('smaller', HTMLButtonElement).disabled = scale === 0;
    byId('larger', HTMLButtonElement).disabled = scale === SCALES.length - 1;
    save(this.#settings);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === 'Enter' && event.ctrlKey && !event.repeat) {
      event.preventDefault();
      if (!this.#toggle.disabled) this.#listener.toggle();
    } else if (event.key === 'Escape' && this.#targets.open) {
      this.#targets.open = false;
      this.#targets.querySelector('summary')?.focus();
    }
  }
}

/** @param {number | null} ms */
function seconds(ms) {
  return ms === null ? '–' : `${(ms / 1000).toFixed(1)} s`;
}
