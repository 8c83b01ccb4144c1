/**
 * From events to the lines to draw. No DOM, no clock, no network: the same events give the same lines, whatever order
 * they come in and however often they are repeated. Of two events about the same text the better one stays (a final
 * beats a partial, then the higher revision); everything else is keyed by what it says.
 *
 * @import { Gap, Limits, ServerEvent } from '../link/protocol.js'
 * @import { Entry, GapHeld, Line, Utterance } from './lines.js'
 */

import { captionHeld, gapHeld, inOrder, isDrawn, lineOf, startOf, supersedes, translated, unheard } from './lines.js';

/** The oldest lines go when there are more (some two hours of steady talk); `forgotten` counts them. */
const MAX_LINES = 2000;
/** The oldest notices go when there are more. */
const MAX_NOTICES = 20;

/**
 * @typedef {object} Notice Something a person should know.
 * @property {string} key
 * @property {'warning' | 'error' | 'ended'} kind
 * @property {string} code
 * @property {string} message In the server's words; empty for `ended`.
 * @property {boolean} retryable
 * @property {number} retryAfterMs 0 when the server did not say.
 * @property {string} traceId
 */

export class Captions {
  /** @type {Map<string, Utterance>} */
  #utterances = new Map();
  /** @type {Map<string, GapHeld>} */
  #gaps = new Map();
  /** All that has a line, until more changes than those of `#changed`. @type {Entry[] | null} */
  #list = null;
  /** What changed since the list was made. @type {Set<Utterance>} */
  #changed = new Set();
  /** Places in the list of what changed since somebody asked; null when all may have changed. @type {number[] | null} */
  #replaced = null;
  /** @type {Map<string, Notice>} */
  #notices = new Map();
  /** @type {readonly string[]} */
  #targets = [];
  #run = -1;
  #over = true;
  #lagEvent = 0;
  /** Of the newest event that told that the server reads no audio, and of the newest that told or showed that it does. */
  #paused = { at: 0, over: 0 };
  #prefix;

  /** @param {string} [prefix] Keys of lines begin with it. */
  constructor(prefix = '') {
    this.#prefix = prefix;
  }

  /** Name of the newest session; empty before the first. */
  session = '';
  /** Secret that lets this client go on with the session. */
  resumeToken = '';
  /** @type {Limits | null} */
  limits = null;
  /** Highest event number seen in this session. */
  lastEvent = 0;
  /** All audio up to here is safe on the server, milliseconds. */
  ackedMs = 0;
  /** How far captions are behind, milliseconds; 0 when they are not. */
  behindMs = 0;
  /** Lines dropped because there were too many. */
  forgotten = 0;

  /** The newest session's number since the page was opened, from 0; -1 before the first. */
  get run() {
    return this.#run;
  }

  /**
   * Targets that lines begun from now on wait for.
   * @param {readonly string[]} targets
   */
  expect(targets) {
    this.#targets = [...targets];
  }

  /**
   * Takes in one event. A type this page does not know is left alone: newer servers may say more.
   * @param {ServerEvent} event
   * @returns {boolean} whether what is drawn may have changed
   */
  apply(event) {
    const changed = this.#take(event);
    this.lastEvent = Math.max(this.lastEvent, event.event);
    return changed;
  }

  /** The link is gone: nothing more comes for what is still unfinished. */
  close() {
    this.#over = true;
    this.behindMs = 0;
    this.#list = null;
  }

  /**
   * The session was lost; the next one begins `untilMs` after the first sample of this one.
   * @param {number} untilMs
   */
  breakOff(untilMs) {
    const mine = [...this.#utterances.values()].filter(({ run }) => run === this.#run);
    const open = mine.filter(({ caption, lost }) => !lost && !caption?.final).map(({ caption, startMs }) => caption?.startMs ?? startMs);
    const ends = mine.map(({ caption, endMs }) => Math.max(endMs, caption?.endMs ?? 0));
    const from_ms = open.length ? Math.min(...open) : Math.max(0, ...ends);
    /** @type {Gap} */
    const gap = { type: 'gap', from_ms, to_ms: Math.max(from_ms, untilMs), reason: 'not_resumed' };
    const key = `${this.#prefix}${this.#run}:gap:${from_ms}:not_resumed`;
    this.#gaps.set(key, gapHeld(key, this.#run, gap));
    this.close();
  }

  /** @returns {Notice[]} newest last; that the server reads no audio is among them only while it is so */
  notices() {
    const { at, over } = this.#paused;
    const paused = !this.#over && at > over ? this.#noteKey(at) : '';
    return [...this.#notices.values()].filter(({ code, key }) => code !== 'audio_paused' || key === paused);
  }

  /** @returns {Line[]} in the order of speech and the times of their sessions, made anew */
  lines() {
    return this.entries().map((entry) => lineOf(entry, this.isOver(entry)));
  }

  /** @returns {readonly Entry[]} what has a line, in the order of speech; good until the next event */
  entries() {
    if (this.#list && this.#mended(this.#list)) return this.#list;
    const list = [...this.#gaps.values(), ...this.#utterances.values()].filter((entry) => isDrawn(entry, this.isOver(entry)));
    for (const entry of list) entry.at = startOf(entry);
    list.sort(inOrder).forEach((entry, place) => (entry.place = place));
    this.#list = list;
    this.#changed.clear();
    this.#replaced = null;
    return list;
  }

  /** Whether nothing more comes for it. @param {Entry} entry */
  isOver({ kind, run }) {
    return kind === 'speech' && (this.#over || run !== this.#run);
  }

  /** @returns {readonly number[] | null} where in `entries` something changed since this was last asked; null: anywhere */
  replaced() {
    const replaced = this.#replaced;
    this.#replaced = [];
    return replaced;
  }

  /**
   * End of the audio that a revision of an utterance of this session was heard in.
   * @param {number} utterance
   * @param {number} revision
   * @returns {number | null} milliseconds, or null when another revision is held
   */
  endOf(utterance, revision) {
    const caption = this.#utterances.get(this.#key(utterance))?.caption;
    return caption?.revision === revision ? caption.endMs : null;
  }

  /** Tells what changed, where all stay where they are. @param {Entry[]} list @returns {boolean} whether they do */
  #mended(list) {
    for (const utterance of this.#changed) {
      const stays = list[utterance.place] === utterance && startOf(utterance) === utterance.at;
      if (!stays || !isDrawn(utterance, this.isOver(utterance))) return false;
      this.#replaced?.push(utterance.place);
      this.#changed.delete(utterance);
    }
    return true;
  }

  /** @param {number} utterance @returns {string} */
  #key(utterance) {
    return `${this.#prefix}${this.#run}:${utterance}`;
  }

  /** @param {ServerEvent} event @returns {boolean} */
  #take(event) {
    switch (event.type) {
      case 'started': {
        const fresh = event.session !== this.session;
        this.#list = null;
        if (fresh) this.#begin();
        if (fresh || event.event > this.lastEvent) this.#over = false;
        // A server that still reads none says so again.
        this.#readOn(event.event);
        this.session = event.session;
        this.resumeToken = event.resume_token;
        this.limits = event.limits;
        return true;
      }
      case 'speech_started':
        this.#readOn(event.event);
        this.#utterance(event.utterance).startMs = event.start_ms;
        return true;
      case 'speech_ended':
        this.#utterance(event.utterance).endMs = event.end_ms;
        return true;
      case 'caption': {
        const utterance = this.#utterance(event.utterance);
        if (!supersedes(utterance.caption, event)) return false;
        utterance.caption = captionHeld(event);
        return true;
      }
      case 'translation': {
        const utterance = this.#utterance(event.utterance);
        const before = utterance.translations;
        utterance.translations = translated(before, event);
        return utterance.translations !== before;
      }
      case 'gap': {
        const key = `${this.#prefix}${this.#run}:gap:${event.from_ms}:${event.to_ms}:${event.reason}`;
        if (!this.#gaps.has(key)) this.#gaps.set(key, gapHeld(key, this.#run, event));
        this.#list = null;
        if (event.utterance !== undefined) this.#utterance(event.utterance).lost = true;
        shrink(this.#gaps, MAX_LINES);
        return true;
      }
      case 'lag':
        if (event.event < this.#lagEvent) return false;
        this.#lagEvent = event.event;
        this.behindMs = event.behind_ms;
        return true;
      case 'ack':
        this.ackedMs = Math.max(this.ackedMs, event.audio_ms);
        return false;
      case 'warning':
        if (event.code === 'audio_resumed') return this.#readOn(event.event);
        if (event.code === 'audio_paused') this.#paused.at = Math.max(this.#paused.at, event.event);
        return this.#note(event.event, { kind: 'warning', code: event.code, message: event.message });
      case 'error': {
        const { code, message, retryable, retry_after_ms: retryAfterMs = 0, trace_id: traceId } = event;
        return this.#note(event.event, { kind: 'error', code, message, retryable, retryAfterMs, traceId });
      }
      case 'ended':
        this.close();
        // `stopped` is what the reader asked for, and needs no telling.
        return event.reason === 'stopped' || this.#note(event.event, { kind: 'ended', code: event.reason, retryable: true });
      default:
        return false;
    }
  }

  #begin() {
    this.#run += 1;
    this.#lagEvent = 0;
    this.#paused = { at: 0, over: 0 };
    this.lastEvent = 0;
    this.ackedMs = 0;
    this.behindMs = 0;
  }

  /** @param {number} id @returns {Utterance} the one held, or a new one, about to be changed */
  #utterance(id) {
    const key = this.#key(id);
    let held = this.#utterances.get(key);
    if (!held) {
      held = unheard(key, this.#run, id, this.#targets);
      this.#utterances.set(key, held);
      this.forgotten += shrink(this.#utterances, MAX_LINES);
      this.#list = null;
    }
    held.shown = null;
    this.#changed.add(held);
    return held;
  }

  /** The server takes audio. @param {number} event @returns {boolean} whether it had said that it does not */
  #readOn(event) {
    const { at, over } = this.#paused;
    this.#paused.over = Math.max(over, event);
    return at > over && at < event;
  }

  /** @param {number} event */
  #noteKey(event) {
    return `${this.#run}:${event}`;
  }

  /** @param {number} event @param {Partial<Notice> & Pick<Notice, 'kind' | 'code'>} notice @returns {boolean} */
  #note(event, notice) {
    const key = this.#noteKey(event);
    if (this.#notices.has(key)) return false;
    this.#notices.set(key, { message: '', retryable: false, retryAfterMs: 0, traceId: '', ...notice, key });
    shrink(this.#notices, MAX_NOTICES);
    return true;
  }
}

/** Drops the oldest entries above `most`. @param {Map<string, unknown>} map @param {number} most @returns {number} how many went */
function shrink(map, most) {
  let gone = 0;
  for (const key of map.keys()) {
    if (map.size <= most) break;
    map.delete(key);
    gone += 1;
  }
  return gone;
}
