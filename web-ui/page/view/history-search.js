/**
 * Searches conversation by conversation, the newest first, and lets the page breathe between them. What was searched once
 * is searched again only where it changed. No DOM.
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
 *
 * @typedef {{ lines: HeardLine[], hits: number[] }} Searched `lines` is empty where there is no hit.
 */

/**
 * @param {readonly Entry[]} entries @param {readonly string[]} words
 * @param {() => boolean} wanted whether anybody still waits for it
 * @param {Map<string, Searched>} known what a search for the same words found before; is added to
 * @returns {Promise<{ groups: Found[], more: boolean } | null>} null when nobody does
 */
export async function searchAll(entries, words, wanted, known) {
  /** @type {Found[]} */
  const groups = [];
  let left = MOST_HITS;
  let since = performance.now();
  for (const entry of entries) {
    const { lines, hits } = await searchOne(entry, words, known);
    if (!wanted()) return null;
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

/** @param {Entry} entry @param {readonly string[]} words @param {Map<string, Searched>} known @returns {Promise<Searched>} */
async function searchOne(entry, words, known) {
  // Those of this page are at hand, and change; those kept are read from the device.
  const name = `${entry.id} ${entry.lines} ${entry.lastsMs}`;
  const before = entry.here ? undefined : known.get(name);
  if (before) return before;
  const read = await entry.read().catch(() => null);
  const lines = read ?? [];
  const hits = search(lines, words, MOST_HITS + 1).map(({ index }) => index);
  const searched = { lines: hits.length > 0 ? lines : [], hits };
  if (read && !entry.here) known.set(name, searched);
  return searched;
}
