/**
 * Finds words in lines as a reader would: without regard to case, accents, width of characters, Arabic vowel signs and
 * stretching, or where a word begins. Pure.
 *
 * @import { HeardLine } from './heard.js'
 */

/** Accents of Latin, Greek and Cyrillic, points of Hebrew, vowel signs of Arabic, the dot of Devanagari's borrowed letters. */
const UNHEARD = /[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0640\u093c\u200b-\u200f\u2060\ufeff]/g;
/** Letters that no normal form takes apart, and that people type without. */
const ALIKE = /** @type {Record<string, string>} */ ({ ł: 'l', ø: 'o', đ: 'd', ħ: 'h', ŧ: 't', ى: 'ي', ة: 'ه', '’': "'" });

/** @type {Map<string, string>} by character; there are few in use */
const folded = new Map();

/** @param {string} character @returns {string} what it is compared as; may be empty or several */
function foldOne(character) {
  let plain = folded.get(character);
  if (plain === undefined) {
    // To capitals and back: ß is ss, ς is σ, and the Turkish letters meet.
    const bare = character.normalize('NFKD').toUpperCase().toLowerCase().normalize('NFKD').replace(UNHEARD, '');
    plain = [...bare].map((each) => ALIKE[each] ?? each).join('').replace(/\s+/g, ' ');
    if (folded.size > 20_000) folded.clear();
    folded.set(character, plain);
  }
  return plain;
}

/** @param {string} text @returns {string} */
export function fold(text) {
  let plain = '';
  for (const character of text) plain += foldOne(character);
  return plain;
}

/** @param {string} query @returns {string[]} the words looked for, each once, long ones first */
export function wordsOf(query) {
  return [...new Set(fold(query).split(' ').filter(Boolean))].sort((a, b) => b.length - a.length);
}

/**
 * Where words stand in a text.
 * @param {string} text
 * @param {readonly string[]} words as wordsOf gives them
 * @returns {[number, number][]} places in the text as it is written, in order, none touching another; empty unless every
 *   word is there
 */
export function find(text, words) {
  if (words.length === 0) return [];
  const plain = fold(text);
  if (!words.every((word) => plain.includes(word))) return [];
  const { starts, ends } = places(text);
  /** @type {[number, number][]} */
  const found = [];
  for (const word of words) {
    let whole = false;
    for (let at = plain.indexOf(word); at >= 0; at = plain.indexOf(word, at + 1)) {
      const [from, to] = [starts.get(at), ends.get(at + word.length)];
      // Half of a character is not found: neither か in が nor s in ß.
      if (from === undefined || to === undefined) continue;
      whole = true;
      found.push([from, to]);
    }
    if (!whole) return [];
  }
  return joined(found);
}

/**
 * Where characters begin and end: from places in the folded text to places in the written one.
 * @param {string} text
 */
function places(text) {
  /** @type {Map<number, number>} */
  const starts = new Map();
  /** @type {Map<number, number>} */
  const ends = new Map();
  let plain = 0;
  let written = 0;
  for (const character of text) {
    const length = foldOne(character).length;
    if (length > 0) starts.set(plain, written);
    plain += length;
    written += character.length;
    // Later ones overwrite: signs that are not heard belong to the letter before them.
    ends.set(plain, written);
  }
  return { starts, ends };
}

/** @param {[number, number][]} found @returns {[number, number][]} */
function joined(found) {
  /** @type {[number, number][]} */
  const whole = [];
  for (const [from, to] of found.sort((a, b) => a[0] - b[0])) {
    const last = whole.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else whole.push([from, to]);
  }
  return whole;
}

/**
 * @typedef {object} Hit
 * @property {number} index of the line
 * @property {HeardLine} line
 */

/**
 * Lines that have all the words in one of their languages.
 * @param {readonly HeardLine[]} lines @param {readonly string[]} words @param {number} most
 * @returns {Hit[]} in the order of the lines
 */
export function search(lines, words, most) {
  /** @type {Hit[]} */
  const hits = [];
  for (const [index, line] of lines.entries()) {
    if (hits.length >= most) break;
    if (line.kind === 'speech' && textsOf(line).some((text) => find(text, words).length > 0)) hits.push({ index, line });
  }
  return hits;
}

/** @param {import('./heard.js').HeardSpeech} line @returns {string[]} */
function textsOf(line) {
  return [line.committed, ...line.translations.map(({ committed }) => committed)];
}
