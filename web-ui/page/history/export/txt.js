/**
 * Plain text to read: a heading, and every line with its time; translations beneath, gaps in brackets. Pure.
 *
 * @import { HeardLine } from '../heard.js'
 * @import { Wanted } from './passages.js'
 */

import { clock } from '../../words/messages.js';
import { labelled, passages } from './passages.js';

/** @param {readonly HeardLine[]} lines @param {Wanted} wanted @returns {string} */
export function txt(lines, { languages, words }) {
  const body = passages(lines, languages).map((entry) => {
    const time = `[${clock(entry.startMs)}]`;
    if (entry.kind === 'gap') return `${time} [${words.gap(entry.gap)}]`;
    const [first = '', ...more] = entry.texts.map(({ text }) => text);
    const said = entry.channel ? labelled(words.who[entry.channel], first) : first;
    return [`${time} ${said}`, ...more.map((text) => ' '.repeat(time.length + 1) + text)].join('\n');
  });
  const heading = words.heading.length ? `${words.heading.join('\n')}\n\n` : '';
  return heading + body.map((entry) => `${entry}\n`).join('');
}
