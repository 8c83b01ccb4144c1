/**
 * Searches conversation by conversation, the newest first, and lets the page breathe between them. No DOM.
 *
 * @import { HeardLine } from '../history/heard.js'
 * @import { Entry } from './history-list.js'
 */

import { search } from '../history/search.js';

/** Lines found are shown up to here. */
const MOST_HITS = 300;
/** The page may be drawn when a search took so long, milliseconds. */
const BREATH_MS = 12;

/**
 * @typedef {object} Found A conversation with hits.
 * @property {Entry} entry
 * @property {HeardLine[]} lines all of it
 * @property {number[]} hits indices of lines
 */

/**
 * @param {readonly Entry[]} entries @param {readonly string[]} words
 * @param {() => boolean} wanted whether anybody still waits for it
 * @returns {Promise<{ groups: Found[], more: boolean } | null>} null when nobody does
 */
export async function searchAll(entries, words, wanted) {
  /** @type {Found[]} */
  const groups = [];
  let left = MOST_HITS;
  let since = performance.now();
  for (const entry of entries) {
    const lines = await entry.read().catch(() => []);
    if (!wanted()) return null;
    const hits = search(lines, words, left + 1).map(({ index }) => index);
    if (hits.length > 0) groups.push({ entry, lines, hits: hits.slice(0, left) });
    if (hits.length > left) return { groups, more: true };
    left -= hits.length;
    if (performance.now() - since < BREATH_MS) continue;
    await new Promise((done) => setTimeout(done));
    since = performance.now();
    if (!wanted()) return null;
  }
  return { groups, more: false };
}
