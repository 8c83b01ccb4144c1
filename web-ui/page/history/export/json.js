/**
 * All that is known of a conversation, for other programs. Pure. Names are those of the protocol (`subtide.v1`); every
 * time is in milliseconds since the conversation's first sample. Whoever reads it should pass over names it does not know;
 * `version` grows when one changes its meaning.
 *
 * @import { Channel } from '../../host/host.js'
 * @import { GapReason } from '../../link/protocol.js'
 * @import { HeardLine } from '../heard.js'
 * @import { Wanted } from './passages.js'
 *
 * @typedef {object} Transcript
 * @property {'subtide.transcript'} format
 * @property {1} version
 * @property {string | null} began When the conversation began, ISO 8601 in UTC; null when nobody knows.
 * @property {string[]} sources BCP-47 tags of the languages spoken.
 * @property {string[]} targets BCP-47 tags of the languages translated into.
 * @property {(Speech | Gap)[]} lines In the order they began.
 *
 * @typedef {object} Speech
 * @property {'speech'} type
 * @property {number} start_ms
 * @property {number} end_ms
 * @property {string} [at] When it was said, ISO 8601 in UTC, where that is known.
 * @property {Channel} [channel] `me`: the reader's microphone; `them`: what their machine played.
 * @property {string} language BCP-47 tag; empty when nobody knows.
 * @property {string} text
 * @property {boolean} final False where the session ended before the whole of it was heard.
 * @property {Record<string, { text: string, final: boolean }>} translations By target; not final where more was to come.
 *
 * @typedef {object} Gap Speech that got no caption.
 * @property {'gap'} type
 * @property {number} start_ms
 * @property {number} end_ms
 * @property {string} [at]
 * @property {Channel} [channel]
 * @property {GapReason} reason
 */

import { finished, languagesOf, placed } from '../heard.js';

/** @param {readonly HeardLine[]} lines @param {Pick<Wanted, 'beganMs'>} wanted @returns {string} */
export function json(lines, { beganMs }) {
  const kept = lines.filter(finished);
  /** @type {Transcript} */
  const transcript = {
    format: 'subtide.transcript',
    version: 1,
    began: beganMs === null ? null : new Date(beganMs).toISOString(),
    ...languagesOf(kept),
    lines: placed(kept).map(({ line, startMs, endMs }) => told(line, startMs, endMs)),
  };
  return `${JSON.stringify(transcript, null, 2)}\n`;
}

/** @param {HeardLine} line @param {number} start_ms @param {number} end_ms @returns {Speech | Gap} */
function told(line, start_ms, end_ms) {
  const heard = {
    start_ms,
    end_ms,
    ...(line.atMs !== undefined && { at: new Date(line.atMs).toISOString() }),
    ...(line.channel && { channel: line.channel }),
  };
  if (line.kind === 'gap') return { type: 'gap', ...heard, reason: line.reason };
  const { language, committed: text, final } = line;
  const translations = Object.fromEntries(
    line.translations.filter(({ waiting }) => !waiting).map(({ target, committed, final: whole }) => [target, { text: committed, final: whole }]),
  );
  return { type: 'speech', ...heard, language, text, final, translations };
}
