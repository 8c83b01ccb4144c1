/**
 * What is heard at present: a stream for each channel, started and stopped together; one that fails leaves the other alone.
 * No DOM.
 *
 * @import { Channel, Host, Languages, Stream, StreamListener, StreamRequest } from '../host/host.js'
 * @import { Closed, LinkState } from '../link/link.js'
 * @import { ServerEvent } from '../link/protocol.js'
 * @import { SoundFault } from './capture.js'
 */

import { CaptureError } from './capture.js';

/**
 * @typedef {'asking' | 'connecting' | 'open' | 'reconnecting' | 'stopping'} Stage `asking`: for the sound.
 *
 * @typedef {object} StreamsListener
 * @property {() => void} changed A stage, or whether it is paused.
 * @property {(channel: Channel) => void} begun A session is about to begin there.
 * @property {(channel: Channel, event: ServerEvent) => void} event
 * @property {(channel: Channel, fromMs: number) => void} anew
 * @property {(channel: Channel, peak: number, heardMs: number) => void} level
 * @property {(channel: Channel, label: string) => void} moved
 * @property {(channel: Channel, fromMs: number, toMs: number) => void} [lost]
 * @property {(channel: Channel, fault: SoundFault) => void} gone
 * @property {(channel: Channel, fault: SoundFault) => void} failed There was no sound to be had; nothing was begun.
 * @property {(channel: Channel, closed: Closed) => void} ended
 *
 * @typedef {object} Held
 * @property {Stage} stage
 * @property {Stream | null} stream
 * @property {boolean} unwanted Stopped before there was a stream.
 * @property {Languages | null} changed What the reader chose while the sound was asked for.
 * @property {StreamRequest | null} next What follows it.
 */

/** Of several stages the one a person should know of comes first. @type {readonly Stage[]} */
const TELLING = ['reconnecting', 'open', 'connecting', 'asking', 'stopping'];

export class Streams {
  #host;
  #listener;
  /** @type {Map<Channel, Held>} */
  #held = new Map();
  #paused = false;

  /** @param {Pick<Host, 'open'>} host @param {StreamsListener} listener */
  constructor(host, listener) {
    this.#host = host;
    this.#listener = listener;
  }

  /** @returns {Stage | null} null when nothing is heard and nothing is owed */
  get stage() {
    const stages = [...this.#held.values()].map(({ stage }) => stage);
    return TELLING.find((stage) => stages.includes(stage)) ?? null;
  }

  /** Whether what is open was told to hear nothing for now. */
  get paused() {
    return this.#paused;
  }

  /** @returns {Channel[]} those heard, or about to be */
  get channels() {
    return [...this.#held].filter(([, { stage, next }]) => stage !== 'stopping' || next).map(([channel]) => channel);
  }

  /**
   * Opens a stream; one that is there already goes on. Asks for the sound before it waits for anything: a browser lets the
   * reader share a screen only right after a click or a key.
   * @param {StreamRequest} request
   */
  open(request) {
    const there = this.#held.get(request.channel);
    if (there) {
      // It is about to end, and this one follows.
      if (there.stage === 'stopping') there.next = request;
      return;
    }
    void this.#begin(request);
  }

  /** As `open`, in place of the stream that is there: its words still come, and then the other device is heard. @param {StreamRequest} request */
  reopen(request) {
    const there = this.#held.get(request.channel);
    if (!there) return;
    this.stop(request.channel);
    this.open(request);
  }

  /** Lets the sound go; words that are owed still come. @param {Channel} [only] */
  stop(only) {
    for (const [channel, held] of [...this.#held]) {
      if (only && channel !== only) continue;
      held.next = null;
      if (held.stage === 'asking' && !held.stream) {
        held.unwanted = true;
        this.#held.delete(channel);
      } else if (held.stage !== 'stopping') {
        held.stage = 'stopping';
        if (held.stream) void held.stream.stop();
        else held.unwanted = true;
      }
    }
    this.#changed();
  }

  /** @param {boolean} paused */
  pause(paused) {
    if (this.#paused === paused || this.channels.length === 0) return;
    this.#paused = paused;
    for (const { stream } of this.#held.values()) stream?.pause(paused);
    this.#changed();
  }

  /** Languages and terms, for all that is open. @param {Languages} languages */
  update(languages) {
    for (const held of this.#held.values()) {
      if (held.next) Object.assign(held.next, languages);
      else if (!held.stream) held.changed = languages;
      else if (held.stage !== 'stopping') held.stream.update(languages);
    }
  }

  /** Ends the open utterances now. */
  finalize() {
    for (const { stream, stage } of this.#held.values()) if (stage !== 'stopping') stream?.finalize();
  }

  /** Tries to connect at once, where it waits to. */
  hurry() {
    for (const { stream } of this.#held.values()) stream?.hurry();
  }

  /** @param {StreamRequest} request */
  async #begin(request) {
    const { channel } = request;
    /** @type {Held} */
    const held = { stage: 'asking', stream: null, unwanted: false, changed: null, next: null };
    this.#held.set(channel, held);
    this.#listener.begun(channel);
    this.#changed();
    try {
      const stream = await this.#host.open(request, this.#hear(channel, held));
      held.stream = stream;
      if (held.unwanted) {
        await stream.stop();
        return;
      }
      if (held.changed) stream.update(held.changed);
      if (this.#paused) stream.pause(true);
    } catch (error) {
      if (this.#held.get(channel) !== held) return;
      this.#held.delete(channel);
      this.#listener.failed(channel, error instanceof CaptureError ? error.fault : 'failed');
      this.#changed();
    }
  }

  /** What a stream tells; of one that was cancelled nothing more is heard. @param {Channel} channel @param {Held} held @returns {StreamListener} */
  #hear(channel, held) {
    const here = () => this.#held.get(channel) === held;
    return {
      state: (state) => here() && this.#state(held, state),
      event: (event) => here() && this.#listener.event(channel, event),
      anew: (fromMs) => here() && this.#listener.anew(channel, fromMs),
      level: (peak, heardMs) => here() && this.#listener.level(channel, peak, heardMs),
      moved: (label) => here() && this.#listener.moved(channel, label),
      lost: (fromMs, toMs) => here() && this.#listener.lost?.(channel, fromMs, toMs),
      gone: (fault) => {
        if (!here()) return;
        held.stage = 'stopping';
        this.#listener.gone(channel, fault);
        this.#changed();
      },
      closed: (closed) => {
        if (!here()) return;
        this.#held.delete(channel);
        this.#listener.ended(channel, closed);
        if (held.next) void this.#begin(held.next);
        else this.#changed();
      },
    };
  }

  /** @param {Held} held @param {LinkState} state */
  #state(held, state) {
    if (held.stage === 'stopping' || state === 'stopping' || state === 'closed') return;
    held.stage = state;
    this.#changed();
  }

  #changed() {
    if (this.#held.size === 0) this.#paused = false;
    this.#listener.changed();
  }
}
