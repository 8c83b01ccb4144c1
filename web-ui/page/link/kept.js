/**
 * What was said to the server and is not yet safe there, in order, so that it can be said again after a broken
 * connection. A pure state machine: no sockets, no clock. Positions are bytes since the session's first sample.
 *
 * @import { AudioFormat, ClientMessage } from './protocol.js'
 */

/** Audio kept, seconds: the 120 s for which a session can be resumed, and what is said while it is. */
const KEPT_SECONDS = 150;
/** Bytes of one frame of silence put in for audio that is lost; well below what the server takes. */
const FILLER_BYTES = 16_384;

/**
 * @typedef {{ at: number, pcm: ArrayBuffer } | { at: number, message: ClientMessage }} Item PCM that begins at `at`, or
 *   a message said when the audio was `at`.
 */

export class Kept {
  /** @type {Item[]} */
  #items = [];
  /** How many of the items the present socket was given. */
  #given = 0;
  #end = 0;
  #held = 0;
  #rate;
  #frame;

  /** @param {Pick<AudioFormat, 'sample_rate' | 'channels'>} format */
  constructor({ sample_rate, channels }) {
    this.#rate = sample_rate;
    this.#frame = channels * 2;
  }

  /** Whether the oldest audio will be lost when more comes. */
  get full() {
    return this.#held >= this.#rate * this.#frame * KEPT_SECONDS;
  }

  /** Whether the present socket was given nothing of what is kept, although there is much: it cannot carry the audio. */
  get stuck() {
    return this.full && this.#given === 0;
  }

  /** Audio heard and not given to the present socket, milliseconds. */
  get waitingMs() {
    const next = this.#items.slice(this.#given).find((item) => 'pcm' in item);
    return next ? this.#ms(this.#end - next.at) : 0;
  }

  /** @param {ArrayBuffer} pcm */
  hear(pcm) {
    this.#items.push({ at: this.#end, pcm });
    this.#end += pcm.byteLength;
    this.#held += pcm.byteLength;
    while (this.full && this.#items.length > 1) this.#forget();
  }

  /** @param {ClientMessage} message */
  say(message) {
    this.#items.push({ at: this.#end, message });
  }

  /** @returns {ArrayBuffer | ClientMessage | null} what the present socket has to be given next; then it counts as given */
  take() {
    const item = this.#items[this.#given];
    if (!item) return null;
    this.#given += 1;
    return 'pcm' in item ? item.pcm : item.message;
  }

  /** Audio before this is safe on the server. @param {number} audioMs */
  release(audioMs) {
    const safe = this.#position(audioMs);
    while (this.#given > 0 && this.#items[0] && this.#done(this.#items[0], safe)) this.#forget();
  }

  /**
   * A new socket wants everything from here on.
   * @param {number} audioMs
   * @returns {number} how many milliseconds of it are no longer here; silence stands for them, so that times stay right
   */
  rewind(audioMs) {
    this.#given = this.#items.length;
    this.release(audioMs);
    this.#given = 0;
    const wanted = this.#position(audioMs);
    const first = this.#items.find((item) => 'pcm' in item);
    if (first && 'pcm' in first && first.at < wanted) {
      this.#held -= wanted - first.at;
      first.pcm = first.pcm.slice(wanted - first.at);
      first.at = wanted;
    }
    const begin = first?.at ?? this.#end;
    /** @type {Item[]} */
    const silence = [];
    for (let at = wanted; at < begin; at += FILLER_BYTES) {
      silence.push({ at, pcm: new ArrayBuffer(Math.min(FILLER_BYTES, begin - at)) });
    }
    this.#items.unshift(...silence);
    this.#held += Math.max(0, begin - wanted);
    return this.#ms(Math.max(0, begin - wanted));
  }

  /**
   * What is here becomes the beginning of a new session.
   * @returns {number} how much of the old session is before it, milliseconds
   */
  rebase() {
    const base = this.#items.find((item) => 'pcm' in item)?.at ?? this.#end;
    for (const item of this.#items) item.at = Math.max(0, item.at - base);
    this.#end -= base;
    this.#given = 0;
    return this.#ms(base);
  }

  /** @param {Item} item @param {number} safe */
  #done(item, safe) {
    // A message at the very place may still be wanted, and does no harm twice.
    return 'pcm' in item ? item.at + item.pcm.byteLength <= safe : item.at < safe;
  }

  #forget() {
    const gone = this.#items.shift();
    if (gone && 'pcm' in gone) this.#held -= gone.pcm.byteLength;
    this.#given = Math.max(0, this.#given - 1);
  }

  /** Where a millisecond begins, on the border of a frame. @param {number} ms */
  #position(ms) {
    return Math.floor((ms * this.#rate) / 1000) * this.#frame;
  }

  /** @param {number} bytes */
  #ms(bytes) {
    return Math.floor((bytes / this.#frame / this.#rate) * 1000);
  }
}
