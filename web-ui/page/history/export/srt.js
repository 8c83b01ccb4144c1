/**
 * SubRip. It has no comments and no way to escape, so what a player would take for a mark of its own is told otherwise:
 * `-->` becomes an arrow, and a `<` that would open a tag gets a space after it. Pure.
 *
 * @import { HeardLine } from '../heard.js'
 * @import { Wanted } from './passages.js'
 */

import { cues, labelled, stamp } from './passages.js';

/** @param {readonly HeardLine[]} lines @param {Wanted} wanted @returns {string} */
export function srt(lines, { languages, words }) {
  const speech = cues(lines, languages, (channel, text) => labelled(words.who[channel], text)).filter((cue) => cue.kind === 'speech');
  return speech
    .map(({ startMs, endMs, texts }, index) => {
      const rows = texts.map(({ text }) => harmless(text)).join('\n');
      return `${index + 1}\n${stamp(startMs, ',')} --> ${stamp(endMs, ',')}\n${rows}\n`;
    })
    .join('\n');
}

/** @param {string} text */
function harmless(text) {
  return text.replaceAll('-->', '→').replace(/<(?=[a-z/])/gi, '< ');
}
