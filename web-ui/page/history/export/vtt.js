/**
 * WebVTT (W3C, https://www.w3.org/TR/webvtt1/). Gaps and the heading are comments; who speaks is a voice span, and rows of
 * two languages say which they are. Pure.
 *
 * @import { HeardLine } from '../heard.js'
 * @import { Cue, Wanted } from './passages.js'
 */

import { cues, stamp } from './passages.js';

/** @param {readonly HeardLine[]} lines @param {Wanted} wanted @returns {string} */
export function vtt(lines, { languages, words }) {
  const blocks = cues(lines, languages).map((entry) =>
    entry.kind === 'gap'
      ? note([`${stamp(entry.startMs, '.')} ${words.gap(entry.gap)}`])
      : `${stamp(entry.startMs, '.')} --> ${stamp(entry.endMs, '.')}\n${spoken(entry, entry.channel && words.who[entry.channel])}`,
  );
  const heading = words.heading.length ? [note(words.heading)] : [];
  return `${['WEBVTT', ...heading, ...blocks].join('\n\n')}\n`;
}

/** @param {Cue} cue @param {string} who */
function spoken({ texts }, who) {
  const two = new Set(texts.map(({ language }) => language)).size > 1;
  const rows = texts.map(({ language, text }) => (two && language ? `<lang ${escaped(language)}>${escaped(text)}</lang>` : escaped(text)));
  return (who ? `<v ${escaped(who)}>` : '') + rows.join('\n');
}

/** A comment may not hold the arrow of a cue, nor an empty line. @param {string[]} rows */
function note(rows) {
  return `NOTE\n${rows.map((row) => row.replace(/\s+/g, ' ').replaceAll('-->', '→')).join('\n')}`;
}

/** @param {string} text */
function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
