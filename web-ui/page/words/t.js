/**
 * The page's own words in the reader's language. No DOM: `localise` in view/dom.js puts them in place.
 *
 * A catalogue is a flat record of keys such as `history.search`; values may have places such as `{seconds}`. English is the
 * one the others are measured by: every catalogue has the same keys and the same places (test/words.test.js).
 */

import ar from './catalogues/ar.js';
import en from './catalogues/en.js';
import es from './catalogues/es.js';
import hi from './catalogues/hi.js';
import zh from './catalogues/zh.js';

/** @typedef {keyof typeof en} Key */

/** @type {Record<string, Readonly<Record<Key, string>>>} */
export const CATALOGUES = { en, ar, es, hi, zh };

let language = 'en';

/** @returns {string} BCP-47 tag of the page's language */
export function spoken() {
  return language;
}

/** @returns {'ltr' | 'rtl'} */
export function direction() {
  return language === 'ar' ? 'rtl' : 'ltr';
}

/**
 * @param {string} chosen a catalogue's tag, or `auto`
 * @param {readonly string[]} wanted the reader's languages, best first
 */
export function speak(chosen, wanted) {
  const offered = chosen === 'auto' ? wanted.map((tag) => tag.split('-')[0] ?? '') : [chosen];
  language = offered.find((tag) => tag in CATALOGUES) ?? 'en';
}

/**
 * @param {Key} key
 * @param {Record<string, string | number>} [values] for the places in it
 * @returns {string}
 */
export function t(key, values = {}) {
  const text = CATALOGUES[language]?.[key] ?? en[key];
  return text.replace(/\{(\w+)\}/g, (place, name) => String(values[name] ?? place));
}
