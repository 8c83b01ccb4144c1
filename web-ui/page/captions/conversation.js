/**
 * What was said in all channels, as one list of lines in the order in which it was spoken. Each channel has sessions of its
 * own, whose audio is counted from their first sample; this knows when that sample was heard. No DOM, no clock, no network:
 * the caller brings the time.
 *
 * @import { Channel } from '../host/host.js'
 * @import { ServerEvent } from '../link/protocol.js'
 * @import { Notice } from './captions.js'
 * @import { Entry, Line } from './lines.js'
 */

import { Captions } from './captions.js';
import { endOf, lineOf, startOf } from './lines.js';
import { SoundClock } from './sound-clock.js';

/** In this order where two channels spoke at the very same time. @type {readonly Channel[]} */
const CHANNELS = ['me', 'them'];

/**
 * @typedef {object} Place Where a line belongs, in place of what its session says.
 * @property {Channel} channel
 * @property {number} atMs When it began to be spoken, Unix milliseconds.
 *
 * @typedef {Line & Place} SpokenLine `startMs` and `endMs` count from the first sound of all that is here, and `run` counts
 *   starts by the reader: a conversation has several sessions, one after another and side by side.
 *
 * @typedef {Notice & { channel: Channel }} SpokenNotice
 *
 * @typedef {object} Voice All of one channel.
 * @property {Channel} channel
 * @property {Captions} captions
 * @property {Run} next What the next session is, or the present one.
 * @property {Run[]} runs By number of the session.
 * @property {readonly Entry[]} placed What it has lines of, as they were given out last.
 * @property {number[]} after For each the latest `atMs` of those up to it.
 * @property {SoundClock | null} clock By which they were placed, and its version.
 * @property {number} version
 *
 * @typedef {{ clock: SoundClock, start: number }} Run
 */

export class Conversation {
  /** @type {Map<Channel, Voice>} */
  #voices = new Map();
  /** @type {readonly string[]} */
  #targets = [];
  #starts = -1;
  /** When the first sound of all was heard. @type {number | null} */
  #zero = null;
  /** What has a line, in the order of speech. @type {Entry[]} */
  #order = [];
  /** Whether a line came, went or changed its place since then. */
  #moved = true;

  /** Lines begun from now on wait for these. @param {readonly string[]} targets */
  expect(targets) {
    this.#targets = [...targets];
    for (const { captions } of this.#voices.values()) captions.expect(targets);
  }

  /** The reader pressed Start: sessions opened from here on belong together. */
  begin() {
    this.#starts += 1;
  }

  /** A session of this channel is about to begin. @param {Channel} channel @param {number} now Unix milliseconds */
  open(channel, now) {
    this.#voice(channel).next = { clock: new SoundClock(now), start: Math.max(0, this.#starts) };
  }

  /**
   * Sound came in. @param {Channel} channel
   * @param {number} now Unix milliseconds
   * @param {number} heardMs how much of the session was heard by now
   */
  heard(channel, now, heardMs) {
    const { clock } = this.#voice(channel).next;
    clock.heard(now, heardMs);
    this.#zero ??= clock.at(0);
  }

  /** Nothing is heard for a while, by the reader's wish. @param {Channel} channel */
  paused(channel) {
    this.#voice(channel).next.clock.interrupt();
  }

  /**
   * @param {Channel} channel @param {ServerEvent} event
   * @returns {boolean} whether what is drawn may have changed
   */
  apply(channel, event) {
    const voice = this.#voice(channel);
    const changed = voice.captions.apply(event);
    if (voice.captions.run >= 0) voice.runs[voice.captions.run] ??= voice.next;
    return changed;
  }

  /** The session was lost; the next one begins so long after its first sample. @param {Channel} channel @param {number} fromMs */
  breakOff(channel, fromMs) {
    const voice = this.#voice(channel);
    voice.captions.breakOff(fromMs);
    voice.next = { ...voice.next, clock: voice.next.clock.from(fromMs) };
  }

  /** Nothing more comes for what is still unfinished there. @param {Channel} channel */
  closeChannel(channel) {
    this.#voices.get(channel)?.captions.close();
  }

  /** How far captions are behind where they are most, milliseconds; 0 when they are not. */
  get behindMs() {
    return Math.max(0, ...[...this.#voices.values()].map(({ captions }) => captions.behindMs));
  }

  /** Lines dropped because there were too many. */
  get forgotten() {
    return [...this.#voices.values()].reduce((sum, { captions }) => sum + captions.forgotten, 0);
  }

  /** @returns {Channel[]} those that have lines */
  get channels() {
    return this.#inOrder().filter(({ captions }) => captions.entries().length > 0).map(({ channel }) => channel);
  }

  /**
   * End of the audio that a revision of an utterance was heard in, since the first sample of the channel's present session.
   * @param {Channel} channel @param {number} utterance @param {number} revision
   * @returns {number | null} milliseconds, or null when another revision is held
   */
  endOf(channel, utterance, revision) {
    return this.#voices.get(channel)?.captions.endOf(utterance, revision) ?? null;
  }

  /** @returns {SpokenNotice[]} of each channel the newest last */
  notices() {
    return this.#inOrder().flatMap(({ channel, captions }) =>
      captions.notices().map((notice) => ({ ...notice, key: `${channel}:${notice.key}`, channel })),
    );
  }

  /** @returns {SpokenLine[]} in the order of speech; a line that nothing changed is the same object as before */
  lines() {
    const voices = this.#inOrder();
    for (const voice of voices) this.#follow(voice);
    if (this.#moved) {
      this.#order = merged(voices, Infinity);
      this.#moved = false;
    }
    return this.#order.flatMap(({ shown }) => shown ?? []);
  }

  /** @param {number} most @returns {SpokenLine[]} the newest lines, in the order of speech */
  newest(most) {
    const voices = this.#inOrder();
    for (const voice of voices) this.#follow(voice);
    return merged(voices, most).flatMap(({ shown }) => shown ?? []).slice(-most);
  }

  /**
   * Brings the places of a channel up to its lines. These stay in the order the channel has them in; between channels the
   * time of their first sound decides, which does not change once there are words.
   * @param {Voice} voice
   */
  #follow(voice) {
    const entries = voice.captions.entries();
    const replaced = voice.captions.replaced();
    const { clock } = voice.next;
    if (replaced && voice.clock === clock && voice.version === clock.version) {
      for (const place of replaced) this.#draw(voice, entries[place]);
      return;
    }
    voice.clock = clock;
    voice.version = clock.version;
    const { placed, after } = voice;
    let latest = -Infinity;
    entries.forEach((entry, place) => {
      latest = Math.max(latest, this.#draw(voice, entry));
      if (placed[place] !== entry || after[place] !== latest) this.#moved = true;
      after[place] = latest;
    });
    if (placed.length > entries.length) this.#moved = true;
    after.length = entries.length;
    voice.placed = entries;
  }

  /** Draws it, unless it is drawn. @param {Voice} voice @param {Entry | undefined} entry @returns {number} when it began to be spoken, Unix milliseconds */
  #draw({ channel, captions, runs, next }, entry) {
    if (!entry) return -Infinity;
    const { clock, start: run } = runs[entry.run] ?? next;
    const over = captions.isOver(entry);
    const atMs = Math.round(clock.at(startOf(entry)));
    const zero = this.#zero ?? clock.at(0);
    const startMs = Math.max(0, Math.round(atMs - zero));
    const { shown } = entry;
    if (shown && entry.over === over && shown.atMs === atMs && shown.startMs === startMs) return atMs;
    const endMs = Math.max(startMs, Math.round(clock.endAt(endOf(entry)) - zero));
    entry.shown = spokenLine(lineOf(entry, over), { run, startMs, endMs, channel, atMs });
    entry.over = over;
    return atMs;
  }

  #inOrder() {
    return CHANNELS.flatMap((channel) => this.#voices.get(channel) ?? []);
  }

  /** @param {Channel} channel @returns {Voice} */
  #voice(channel) {
    let voice = this.#voices.get(channel);
    if (!voice) {
      voice = { channel, captions: new Captions(`${channel}:`), next: { clock: new SoundClock(0), start: Math.max(0, this.#starts) }, runs: [], placed: [], after: [], clock: null, version: 0 };
      voice.captions.expect(this.#targets);
      this.#voices.set(channel, voice);
    }
    return voice;
  }
}

/**
 * @param {Line} line @param {Place & { run: number, startMs: number, endMs: number }} place
 * @returns {SpokenLine} written out, since what is spread into an object takes more room, and there are thousands
 */
function spokenLine(line, { run, startMs, endMs, channel, atMs }) {
  if (line.kind === 'gap') return { ...line, run, startMs, endMs, channel, atMs };
  const { kind, key, utterance, language, committed, tail, final, live, translations } = line;
  return { kind, key, run, utterance, startMs, endMs, language, committed, tail, final, live, translations, channel, atMs };
}

/** @param {Voice[]} voices @param {number} most of each, the last @returns {Entry[]} in the order of speech */
function merged(voices, most) {
  const all = voices.flatMap(({ placed, after }) => {
    const first = Math.max(0, placed.length - most);
    return placed.slice(first).map((entry, index) => ({ entry, after: after[first + index] ?? 0 }));
  });
  // Sorting is stable: what is equal stays in the order of the channel, and `me` before `them`.
  return all.sort((a, b) => a.after - b.after).map(({ entry }) => entry);
}
