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
  /** Up to where the present socket was given audio, or silence for it. */
  #sent = 0;
  /** Where the silence begins that the present socket is being given. @type {number | null} */
  #hole = null;
  /** Up to where it was told what is lost. */
  #told = 0;
  /** @type {{ from_ms: number, to_ms: number } | null} */
  #lost = null;
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
    return this.full && this.#given === 0 && (this.#items[0]?.at ?? 0) <= this.#sent;
  }

  /**
   * Audio that was given up before a socket took it, once it is known how much: when the audio after it has its turn. Silence
   * was given in its place, so that times stay right.
   * @returns {{ from_ms: number, to_ms: number } | null} told once
   */
  lost() {
    const lost = this.#lost;
    this.#lost = null;
    return lost;
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
    while (this.full) this.#giveUp();
  }

  /** @param {ClientMessage} message */
  say(message) {
    this.#items.push({ at: this.#end, message });
  }

  /** @returns {ArrayBuffer | ClientMessage | null} what the present socket has to be given next; then it counts as given */
  take() {
    const item = this.#items[this.#given];
    if (!item) return null;
    if (item.at > this.#sent) return this.#silence(item.at);
    this.#given += 1;
    if ('message' in item) return item.message;
    if (this.#hole !== null && item.at > this.#hole) {
      this.#lost = { from_ms: this.#ms(this.#hole), to_ms: this.#ms(item.at) };
      this.#told = item.at;
    }
    this.#hole = null;
    this.#sent = item.at + item.pcm.byteLength;
    return item.pcm;
  }

  /** Audio before this is safe on the server. @param {number} audioMs */
  release(audioMs) {
    const safe = this.#position(audioMs);
    while (this.#given > 0 && this.#items[0] && this.#done(this.#items[0], safe)) this.#forget();
  }

  /**
   * A new socket wants everything from here on.
   * @param {number} audioMs
   * @returns {number} how many milliseconds of it are no longer here
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
    this.#sent = wanted;
    this.#hole = null;
    return this.#ms(Math.max(0, (first?.at ?? this.#end) - wanted));
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
    this.#sent = 0;
    this.#hole = null;
    this.#told = Math.max(0, this.#told - base);
    return this.#ms(base);
  }

  /** @param {Item} item @param {number} safe */
  #done(item, safe) {
    // A message at the very place may still be wanted, and does no harm twice.
    return 'pcm' in item ? item.at + item.pcm.byteLength <= safe : item.at < safe;
  }

  /** @param {number} until where there is audio again @returns {ArrayBuffer} silence for some of what is before it */
  #silence(until) {
    const bytes = Math.min(FILLER_BYTES, until - this.#sent);
    this.#hole ??= Math.max(this.#sent, this.#told);
    this.#sent += bytes;
    return new ArrayBuffer(bytes);
  }

  /** The oldest audio goes; what was said beside it stays, and will be said. */
  #giveUp() {
    const place = this.#items.findIndex((item) => 'pcm' in item);
    const [gone] = this.#items.splice(place, 1);
    if (gone && 'pcm' in gone) this.#held -= gone.pcm.byteLength;
    if (place < this.#given) this.#given -= 1;
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
