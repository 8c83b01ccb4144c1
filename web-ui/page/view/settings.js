/** What the page remembers between visits: choices of the reader, no words spoken. */

import { OFFERED, parseTag } from '../words/languages.js';

const KEY = 'subtide.settings';
/** Steps of the captions' size. */
export const SCALES = [0.7, 0.85, 1, 1.2, 1.45, 1.75, 2.1];
export const THEMES = /** @type {const} */ (['auto', 'light', 'dark']);

/**
 * @typedef {object} Settings
 * @property {string} source BCP-47 tag or `auto`
 * @property {string[]} targets in the order they are shown
 * @property {string[]} added tags typed by the reader
 * @property {number} scale index into SCALES
 * @property {typeof THEMES[number]} theme
 */

/** @returns {Settings} what was stored, mended where it makes no sense */
export function load() {
  /** @type {Partial<Record<keyof Settings, unknown>>} */
  let stored = {};
  try {
    stored = Object(JSON.parse(localStorage.getItem(KEY) ?? '{}'));
  } catch {
    // Storage may be blocked or hold something else; the page works without it.
  }
  const source = stored.source === 'auto' ? 'auto' : parseTag(String(stored.source ?? ''));
  const scale = Number(stored.scale);
  return {
    source: source ?? 'en',
    targets: Array.isArray(stored.targets) ? tags(stored.targets) : ['es'],
    added: tags(stored.added).filter((tag) => !OFFERED.includes(tag)),
    scale: stored.scale !== undefined && scale in SCALES ? scale : SCALES.indexOf(1),
    theme: THEMES.find((theme) => theme === stored.theme) ?? 'auto',
  };
}

/** @param {Settings} settings */
export function save(settings) {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // As above.
  }
}

/** @param {unknown} list @returns {string[]} the tags in it, each once */
function tags(list) {
  const parsed = Array.isArray(list) ? list.map((tag) => parseTag(String(tag))) : [];
  return [...new Set(parsed.filter((tag) => tag !== null))];
}
