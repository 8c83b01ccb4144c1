/**
 * Holds the conversations of this page, and keeps them on the device while the reader wants that. A line is written at most
 * a second after it became final or changed: a crash loses no more.
 *
 * @import { HeardLine } from './heard.js'
 * @import { Conversation } from './store.js'
 */

import { conversations, finished, inTime, languagesOf, placed } from './heard.js';
import { Store } from './store.js';

const WRITE_AFTER_MS = 1000;
/** Lines the page itself still holds for sure; older ones are held here. */
const HELD_BY_PAGE = 1500;
/** Lines held here, some forty hours of talk; the oldest go when there are more. */
const MAX_OLD = 50_000;

/**
 * @typedef {object} KeeperOptions
 * @property {() => readonly HeardLine[]} lines of the page, in the order of speech
 * @property {{ keepHistory?: boolean }} settings
 * @property {(kept: boolean) => void} [told] Whether keeping works, when that changes.
 * @property {() => void} [changed] A conversation of this page has other lines than before.
 *
 * @typedef {Conversation & { all: HeardLine[] }} Present A conversation of this page.
 */

export class Keeper {
  #options;
  /** Names the conversations of this page. */
  #visit = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
  /** @type {Map<string, HeardLine>} lines that the page may have forgotten, oldest first */
  #old = new Map();
  /** @type {Map<string, number>} of the lines written, what they were like */
  #written = new Map();
  /** Keys of lines that are not to be kept: said while keeping was off in between, or deleted. @type {Set<string>} */
  #leftOut = new Set();
  /** Whether lines were kept when somebody last looked, and ever. */
  #keeping;
  #keptOnce;
  /** What the lines were like together when somebody was last told. */
  #told = 0;
  /** @type {Promise<Store> | null} */
  #store = null;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #timer = null;
  /** Writes come one after another. */
  #writing = Promise.resolve();
  #works = true;
  /** When this page showed its first line, for lines that do not say when they were said. */
  #sinceMs = 0;

  /** @param {KeeperOptions} options */
  constructor(options) {
    this.#options = options;
    this.#keeping = this.#keptOnce = options.settings.keepHistory === true;
    const now = () => void this.flush();
    globalThis.addEventListener('pagehide', now);
    document.addEventListener('visibilitychange', () => document.hidden && now());
  }

  /** To be called whenever lines may have changed; costs nothing. */
  take() {
    this.#timer ??= setTimeout(() => void this.flush(), WRITE_AFTER_MS);
  }

  /**
   * Writes what is unwritten. To be called whenever keeping is switched on or off, too.
   * @returns {Promise<void>} once it is on the device, or cannot be
   */
  flush() {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#holdOld();
    this.#switch();
    const state = this.#all().reduce((sum, line) => sum + stampOf(line), 0);
    if (state !== this.#told) this.#options.changed?.();
    this.#told = state;
    if (this.#keeping) this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  /**
   * Whoever switches keeping on for the first time wants what is on the page; whoever had it off in between does not want
   * what was said, or begun, meanwhile.
   */
  #switch() {
    const keep = this.#options.settings.keepHistory === true;
    if (keep && !this.#keeping && this.#keptOnce) for (const { key } of this.#all()) if (!this.#written.has(key)) this.#leftOut.add(key);
    this.#keeping = keep;
    this.#keptOnce ||= keep;
  }

  /** @returns {Present[]} the newest last; only lines that can no longer change */
  present() {
    const began = this.#sinceMs || Date.now();
    return conversations(this.#all()).map((group, index) => {
      const all = group.filter(finished);
      return { ...described(`${this.#visit}.${index}`, all, began), all };
    });
  }

  /** @returns {Promise<Conversation[]>} those on the device, this page's among them, newest first */
  async list() {
    return (await this.#opened()).list();
  }

  /** @param {string} id @returns {Promise<HeardLine[]>} */
  async lines(id) {
    return (await this.#opened()).lines(id);
  }

  /** Deletes one; of a conversation of this page only what comes from now on is kept again. @param {string} id */
  async remove(id) {
    this.#leave(this.present().find((each) => each.id === id)?.all ?? []);
    await this.#writing;
    await (await this.#opened()).remove(id);
  }

  /** Deletes all that is kept. What is on the page stays there, and only what comes from now on is kept again. */
  async clear() {
    this.#leave(this.#all().filter(finished));
    await this.#writing;
    await (await this.#opened()).clear();
  }

  /** @param {readonly HeardLine[]} lines */
  #leave(lines) {
    for (const { key } of lines) {
      this.#leftOut.add(key);
      this.#written.delete(key);
    }
  }

  #opened() {
    this.#store ??= Store.open();
    // One that failed is tried again next time.
    this.#store.catch(() => (this.#store = null));
    return this.#store;
  }

  /** @returns {HeardLine[]} of this page, those it forgot first */
  #all() {
    const lines = this.#options.lines();
    if (this.#old.size === 0) return [...lines];
    const here = new Set(lines.map(({ key }) => key));
    return [...[...this.#old.values()].filter(({ key }) => !here.has(key)), ...lines];
  }

  #holdOld() {
    const lines = this.#options.lines();
    if (lines.length > 0) this.#sinceMs ||= Date.now();
    for (const line of lines.slice(0, Math.max(0, lines.length - HELD_BY_PAGE))) if (finished(line)) this.#old.set(line.key, line);
    for (const key of this.#old.keys()) {
      if (this.#old.size <= MAX_OLD) break;
      this.#old.delete(key);
    }
  }

  async #write() {
    try {
      const store = await this.#opened();
      let fresh = false;
      for (const { id, beganMs, all: said } of this.present()) {
        const all = said.filter(({ key }) => !this.#leftOut.has(key));
        const changed = all.map((line, place) => ({ place, line })).filter(({ line }) => this.#written.get(line.key) !== stampOf(line));
        if (changed.length === 0) continue;
        const plain = changed.map(({ place, line }) => ({ place, line: structuredClone(line) }));
        fresh ||= all.every(({ key }) => !this.#written.has(key));
        await store.keep(described(id, all, beganMs), plain);
        for (const { line } of plain) if (!this.#leftOut.has(line.key)) this.#written.set(line.key, stampOf(line));
      }
      // It can be deleted from now on.
      if (fresh) this.#options.changed?.();
      this.#tell(true);
    } catch {
      // Blocked, full or closed; the next line tries again.
      this.#store = null;
      this.#tell(false);
    }
  }

  /** @param {boolean} works */
  #tell(works) {
    if (works === this.#works) return;
    this.#works = works;
    this.#options.told?.(works);
  }
}

/** @param {string} id @param {readonly HeardLine[]} all @param {number} began for lines that do not say when they were said @returns {Conversation} */
function described(id, all, began) {
  const times = placed(all);
  const lastsMs = times.reduce((most, { endMs }) => Math.max(most, endMs), 0) - (times[0]?.startMs ?? 0);
  return { id, beganMs: inTime(all)[0]?.atMs ?? began, lastsMs, ...languagesOf(all), lines: all.length };
}

/** Another number for another text: committed text only grows, and what is final stays. @param {HeardLine} line */
function stampOf(line) {
  if (line.kind === 'gap') return 1;
  let stamp = line.committed.length + (finished(line) ? 1 : 0);
  for (const { committed, final } of line.translations) stamp += committed.length + (final ? 1 : 0);
  return stamp;
}
