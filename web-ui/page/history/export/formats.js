/**
 * The kinds of file a conversation can be taken home as. Pure.
 *
 * @import { HeardLine } from '../heard.js'
 * @import { Wanted } from './passages.js'
 */

import { json } from './json.js';
import { srt } from './srt.js';
import { txt } from './txt.js';
import { vtt } from './vtt.js';

/** @typedef {'srt' | 'vtt' | 'txt' | 'json'} Format */

/** @type {Record<Format, { type: string, write: (lines: readonly HeardLine[], wanted: Wanted) => string }>} */
export const FORMATS = {
  srt: { type: 'application/x-subrip', write: srt },
  vtt: { type: 'text/vtt', write: vtt },
  txt: { type: 'text/plain', write: txt },
  json: { type: 'application/json', write: json },
};

/**
 * Such as `subtide-2026-11-21-1830.en.es.srt`, by the reader's clock.
 * @param {Date} began @param {readonly string[]} languages @param {Format} format
 */
export function fileName(began, languages, format) {
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  const day = [began.getFullYear(), two(began.getMonth() + 1), two(began.getDate())].join('-');
  const tags = format === 'json' ? [] : languages.filter((tag) => tag !== '').map((tag) => `.${tag}`);
  return `subtide-${day}-${two(began.getHours())}${two(began.getMinutes())}${tags.join('')}.${format}`;
}
