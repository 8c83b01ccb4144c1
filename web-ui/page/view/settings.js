/**
 * What the page remembers between visits: choices of the reader, no words spoken. Other windows are told of changes by the
 * browser's `storage` event, and in the desktop client by an event of Tauri's too, which reaches its overlay for certain.
 *
 * @import { Channel, Term } from '../host/host.js'
 */

import { CATALOGUES } from '../words/t.js';
import { OFFERED, parseTag } from '../words/languages.js';
import { tauri } from './tauri.js';

const KEY = 'subtide.settings';
/** Of Tauri's event. */
const TOLD = 'subtide-settings';
/** Names this window in it: the event comes back to whoever sent it, at times after another choice was made. */
const HERE = `${Date.now()} ${Math.random()}`;
/** Steps of the captions' size. */
export const SCALES = [0.7, 0.85, 1, 1.2, 1.45, 1.75, 2.1];
export const THEMES = /** @type {const} */ (['auto', 'light', 'dark']);
export const CONTRASTS = /** @type {const} */ (['normal', 'high']);
export const FONTS = /** @type {const} */ (['sans', 'serif', 'mono', 'spaced']);
export const LAYOUTS = /** @type {const} */ (['below', 'beside', 'target', 'source']);
export const POSITIONS = /** @type {const} */ (['top', 'middle', 'bottom']);
export const LANGUAGES = ['auto', ...Object.keys(CATALOGUES)];
/** Most rows of text of an overlay, in each language. */
export const MAX_OVERLAY_LINES = 8;
/** As the server takes them: shared::wire, MAX_GLOSSARY_TERMS and MAX_GLOSSARY_TERM_BYTES. */
export const MAX_TERMS = 256;
const MAX_TERM_BYTES = 128;

/**
 * @typedef {object} OverlaySettings
 * @property {number} lines Rows of text shown in each language.
 * @property {number} scale Index into SCALES.
 * @property {typeof POSITIONS[number]} position
 * @property {number} opacity Of what lies under the text, 0 to 1.
 * @property {string} colour Of the text, as `#rrggbb`.
 * @property {number} width Percent of the window.
 *
 * @typedef {object} Settings
 * @property {string} source BCP-47 tag or `auto`
 * @property {string[]} targets in the order they are shown
 * @property {string[]} added tags typed by the reader
 * @property {Channel[]} channels heard
 * @property {Record<Channel, string>} devices ids; empty for the system's default
 * @property {Term[]} glossary
 * @property {boolean} keepHistory
 * @property {string} language of the page: a catalogue's tag, or `auto`
 * @property {number} scale index into SCALES
 * @property {typeof THEMES[number]} theme
 * @property {typeof CONTRASTS[number]} contrast
 * @property {typeof FONTS[number]} font
 * @property {typeof LAYOUTS[number]} layout
 * @property {OverlaySettings} overlay
 *
 * @typedef {Partial<Record<string, unknown>>} Stored Anything: other versions of the page may have written it.
 */

/** @returns {Settings} what was stored, mended where it makes no sense */
export function load() {
  try {
    return mend(JSON.parse(localStorage.getItem(KEY) ?? '{}'));
  } catch {
    // Storage may be blocked or hold something else; the page works without it.
    return mend({});
  }
}

/** @param {unknown} anything @returns {Settings} */
export function mend(anything) {
  const stored = record(anything);
  const source = stored.source === 'auto' ? 'auto' : parseTag(String(stored.source ?? ''));
  const devices = record(stored.devices);
  return {
    source: source ?? 'en',
    targets: Array.isArray(stored.targets) ? tags(stored.targets) : ['es'],
    added: tags(stored.added).filter((tag) => !OFFERED.includes(tag)),
    channels: channels(stored.channels),
    devices: { me: text(devices.me), them: text(devices.them) },
    glossary: glossary(stored.glossary),
    keepHistory: stored.keepHistory === true,
    language: oneOf(LANGUAGES, stored.language, 'auto'),
    scale: step(stored.scale),
    theme: oneOf(THEMES, stored.theme, 'auto'),
    contrast: oneOf(CONTRASTS, stored.contrast, 'normal'),
    font: oneOf(FONTS, stored.font, 'sans'),
    layout: oneOf(LAYOUTS, stored.layout, 'below'),
    overlay: overlay(record(stored.overlay)),
  };
}

/** @param {Settings} settings */
export function save(settings) {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // As above.
  }
  void tauri()?.event.emit(TOLD, { ...settings, from: HERE });
}

/**
 * Follows what other windows choose.
 * @param {Settings} settings kept up to date
 * @param {() => void} changed told after each change
 */
export function follow(settings, changed) {
  const take = (/** @type {Settings} */ chosen) => {
    if (JSON.stringify(chosen) === JSON.stringify(settings)) return;
    Object.assign(settings, chosen);
    changed();
  };
  globalThis.addEventListener('storage', ({ key }) => (key === KEY || key === null) && take(load()));
  void tauri()?.event.listen(TOLD, ({ payload }) => payload?.from !== HERE && take(mend(payload)));
}

/** A term fit for the server, or null: it has a name, and no side is too long. @param {Term} term @returns {Term | null} */
export function fitTerm({ term, translations = {} }) {
  const name = short(term);
  if (!name) return null;
  const given = Object.entries(translations).flatMap(([tag, words]) => {
    const target = parseTag(tag);
    const fitting = short(String(words));
    return target && fitting ? [[target, fitting]] : [];
  });
  return given.length ? { term: name, translations: Object.fromEntries(given) } : { term: name };
}

/** @param {string} words @returns {string} without space around, cut where the server would not take more */
function short(words) {
  const coder = new TextEncoder();
  let fitting = words.trim();
  while (coder.encode(fitting).length > MAX_TERM_BYTES) fitting = [...fitting].slice(0, -1).join('');
  return fitting;
}

/** @param {unknown} list @returns {Term[]} */
function glossary(list) {
  if (!Array.isArray(list)) return [];
  const terms = list.map((each) => {
    const { term, translations } = record(each);
    return fitTerm({ term: text(term), translations: /** @type {Record<string, string>} */ (record(translations)) });
  });
  return terms.filter((term) => term !== null).slice(0, MAX_TERMS);
}

/** @param {Stored} stored @returns {OverlaySettings} */
function overlay({ lines, scale, position, opacity, colour, width }) {
  return {
    lines: Math.round(within(lines, 1, MAX_OVERLAY_LINES, 2)),
    scale: step(scale),
    position: oneOf(POSITIONS, position, 'bottom'),
    opacity: within(opacity, 0, 1, 0.75),
    colour: /^#[0-9a-f]{6}$/i.test(text(colour)) ? text(colour) : '#ffffff',
    width: Math.round(within(width, 20, 100, 90)),
  };
}

/** @param {unknown} list @returns {Channel[]} none where the reader chose none */
function channels(list) {
  const heard = /** @type {Channel[]} */ (['me', 'them']).filter((channel) => Array.isArray(list) && list.includes(channel));
  return heard.length || (Array.isArray(list) && list.length === 0) ? heard : ['me'];
}

/** @param {unknown} value @returns {Stored} */
function record(value) {
  return typeof value === 'object' && value !== null ? /** @type {Stored} */ (value) : {};
}

/** @param {unknown} value @returns {string} */
function text(value) {
  return typeof value === 'string' ? value : '';
}

/** @param {unknown} value @param {number} least @param {number} most @param {number} otherwise */
function within(value, least, most, otherwise) {
  return typeof value === 'number' && Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : otherwise;
}

/** @param {unknown} value @returns {number} index into SCALES */
function step(value) {
  return Number.isInteger(value) && Number(value) in SCALES ? Number(value) : SCALES.indexOf(1);
}

/** @template {string} T @param {readonly T[]} choices @param {unknown} value @param {T} otherwise @returns {T} */
function oneOf(choices, value, otherwise) {
  return choices.find((choice) => choice === value) ?? otherwise;
}

/** @param {unknown} list @returns {string[]} the tags in it, each once */
function tags(list) {
  const parsed = Array.isArray(list) ? list.map((tag) => parseTag(String(tag))) : [];
  return [...new Set(parsed.filter((tag) => tag !== null))];
}
