/**
 * From lines to what a file of subtitles is made of: passages in the languages wanted, and cues short enough to be read.
 * Pure.
 *
 * @import { Channel } from '../../host/host.js'
 * @import { HeardGap, HeardLine, HeardSpeech } from '../heard.js'
 */

import { finished, placed, twoHeard } from '../heard.js';
import { cut, evenUp, tidy, width } from './cut.js';

/** Shown so long where no length is known, milliseconds. */
const NO_LENGTH_MS = 1000;

/**
 * @typedef {object} Words What is said in the reader's language around the captions.
 * @property {Record<Channel, string>} who
 * @property {(gap: HeardGap) => string} gap
 * @property {string[]} heading Rows at the beginning of a file, where its format has a place for them.
 *
 * @typedef {object} Wanted
 * @property {string[]} languages One or two of `source` and the targets, in the order they are shown.
 * @property {Words} words
 * @property {number | null} beganMs When the conversation began, Unix milliseconds.
 *
 * @typedef {{ language: string, text: string }} Text
 *
 * @typedef {object} Passage One line in the languages wanted.
 * @property {'speech'} kind
 * @property {number} startMs
 * @property {number} endMs Always after startMs.
 * @property {Channel | ''} channel Empty where only one is heard.
 * @property {Text[]} texts At least one.
 *
 * @typedef {object} Missing Speech that got no caption.
 * @property {'gap'} kind
 * @property {number} startMs
 * @property {number} endMs
 * @property {HeardGap} gap
 *
 * @typedef {Passage & { begins: boolean }} Cue Its texts are rows; `begins` with the first of a line.
 */

/**
 * Finished lines, and what a translation of one has committed so far: also of a line whose session ended before it was
 * final, which makes no gap unless the session was lost.
 * @param {readonly HeardLine[]} lines
 * @param {readonly string[]} languages
 * @returns {(Passage | Missing)[]} in the order they began
 */
export function passages(lines, languages) {
  const labels = twoHeard(lines.filter((line) => line.kind === 'speech'));
  /** @type {(Passage | Missing)[]} */
  const found = [];
  for (const { line, startMs, endMs } of placed(lines.filter(finished))) {
    if (line.kind === 'gap') {
      found.push({ kind: 'gap', startMs, endMs, gap: line });
      continue;
    }
    const texts = languages.map((language) => textIn(line, language)).filter(({ text }) => text !== '');
    const channel = labels ? (line.channel ?? '') : '';
    if (texts.length) found.push({ kind: 'speech', startMs, endMs: endMs > startMs ? endMs : startMs + NO_LENGTH_MS, channel, texts });
  }
  return found;
}

/**
 * What is committed of a line in a language. Words spoken in that language already need no translation.
 * @param {HeardSpeech} line @param {string} language @returns {Text}
 */
function textIn(line, language) {
  if (language === 'source') return { language: line.language, text: tidy(line.committed) };
  const text = tidy(line.translations.find(({ target }) => target === language)?.committed ?? '');
  const own = text === '' && line.language !== '' && line.language.split('-')[0] === language.split('-')[0];
  return { language, text: own ? tidy(line.committed) : text };
}

/**
 * Cues of at most two rows: two of one language, or one of each of two. The times of a long line are shared out by length.
 * @param {readonly HeardLine[]} lines
 * @param {readonly string[]} languages
 * @param {(channel: Channel, text: string) => string} [lead] Puts a label before a line's first text.
 * @returns {(Cue | Missing)[]} in the order they began; cues of one channel do not overlap
 */
export function cues(lines, languages, lead = (_channel, text) => text) {
  const all = passages(lines, languages.slice(0, 2));
  /** @type {Map<string, Passage>} the newest of each channel */
  const before = new Map();
  for (const passage of all) {
    if (passage.kind === 'gap') continue;
    const last = before.get(passage.channel);
    if (last && last.endMs > passage.startMs && passage.startMs > last.startMs) last.endMs = passage.startMs;
    before.set(passage.channel, passage);
  }
  /** @type {(Cue | Missing)[]} */
  const found = [];
  for (const entry of all) found.push(...(entry.kind === 'gap' ? [entry] : split(entry, lead)));
  return found.sort((a, b) => a.startMs - b.startMs);
}

/** @param {Passage} passage @param {(channel: Channel, text: string) => string} lead @returns {Cue[]} */
function split(passage, lead) {
  const { channel, startMs } = passage;
  const texts = passage.texts.map(({ language, text }, index) => ({ language, text: index === 0 && channel ? lead(channel, text) : text }));
  const pieces = rowsOf(texts);
  const lengths = pieces.map((rows) => Math.max(1, ...rows.map(({ text }) => width(text))));
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const lasts = Math.max(passage.endMs - startMs, pieces.length);
  let shown = 0;
  let from = startMs;
  return pieces.map((rows, index) => {
    shown += lengths[index] ?? 0;
    const left = pieces.length - 1 - index;
    const endMs = Math.min(Math.max(startMs + Math.round((lasts * shown) / total), from + 1), startMs + lasts - left);
    /** @type {Cue} */
    const cue = { kind: 'speech', startMs: from, endMs, channel, texts: rows, begins: index === 0 };
    from = endMs;
    return cue;
  });
}

/** @param {Text[]} texts @returns {Text[][]} for each cue its rows */
function rowsOf(texts) {
  const [first, second] = texts;
  if (!first) return [];
  if (!second) return cut(first.text, first.language, 2).map((rows) => rows.map((text) => ({ language: first.language, text })));
  const single = [first, second].map(({ text, language }) => cut(text, language, 1).flat());
  const most = Math.max(...single.map(({ length }) => length));
  const even = [first, second].map(({ language }, index) => evenUp(single[index] ?? [], language, most).map((text) => ({ language, text })));
  return Array.from({ length: most }, (_, index) => even.flatMap((rows) => rows[index] ?? []));
}

/** @param {number} ms @param {string} point before the milliseconds @returns {string} such as 01:02:03,004 */
export function stamp(ms, point) {
  const two = (/** @type {number} */ n) => String(Math.floor(n)).padStart(2, '0');
  return `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}${point}${String(ms % 1000).padStart(3, '0')}`;
}

const RIGHT_TO_LEFT = /[\p{sc=Arabic}\p{sc=Hebrew}\p{sc=Syriac}\p{sc=Thaana}\p{sc=Nko}]/u;

/**
 * `Me: words`. Where the words go from right to left, a mark says so before a label that does not.
 * @param {string} who @param {string} text
 */
export function labelled(who, text) {
  const first = /\p{L}/u.exec(text)?.[0] ?? '';
  const mark = RIGHT_TO_LEFT.test(first) && !RIGHT_TO_LEFT.test(who) ? '\u200f' : '';
  return `${mark}${who}: ${text}`;
}
