/**
 * The page's own words, numbers and times in the reader's language. No DOM: `localise` in view/dom.js puts them in place.
 *
 * A catalogue is a flat record of keys such as `history.search`; values may have places such as `{seconds}`. English is the
 * one the others are measured by: every catalogue has the same keys and the same places (test/catalogues.test.js).
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
/** @type {Set<() => void>} */
const listeners = new Set();

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
  const before = language;
  language = offered.find((tag) => Object.hasOwn(CATALOGUES, tag)) ?? 'en';
  if (language !== before) for (const listener of listeners) listener();
}

/** @param {() => void} listener told after the page's language has changed, to say again what `localise` does not reach */
export function onSpoken(listener) {
  listeners.add(listener);
}

/**
 * @param {Key} key
 * @param {Record<string, string | number>} [values] for the places in it; numbers are written as the language does
 * @returns {string}
 */
export function t(key, values = {}) {
  const text = CATALOGUES[language]?.[key] ?? en[key];
  return text.replace(/\{(\w+)\}/g, (place, name) => {
    const value = values[name];
    return value === undefined ? place : typeof value === 'number' ? number(value) : value;
  });
}

/** @param {number} value @param {number} [digits] after the point @returns {string} */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false }).format(value);
}

/** @param {number} value 0 to 1 @returns {string} such as `75%` */
export function percent(value) {
  return new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: 0 }).format(value);
}

/** @param {number} ms @returns {string} such as `2.5 s` */
export function seconds(ms) {
  return t('page.seconds', { number: number(ms / 1000, 1) });
}

/** @param {number} ms since the session's first sample @returns {string} such as 1:02:03 or 2:03 */
export function clock(ms) {
  const whole = Math.floor(ms / 1000);
  const two = new Intl.NumberFormat(language, { minimumIntegerDigits: 2 });
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const tail = two.format(whole % 60);
  return hours ? `${number(hours)}:${two.format(minutes)}:${tail}` : `${number(minutes)}:${tail}`;
}

/** @param {Date} time @returns {string} the hour and minute of it */
export function timeOfDay(time) {
  return time.toLocaleTimeString(language, { hour: '2-digit', minute: '2-digit' });
}
