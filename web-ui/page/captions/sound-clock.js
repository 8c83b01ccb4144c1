/**
 * When each stretch of a session's audio was heard, by the clock on the wall. Audio and time go on together, except where
 * nothing was heard for a while: the reader paused, or the machine slept. A pure state machine: the caller brings the time.
 */

/** Sound comes ten times a second; a page held up for less than this was merely late, and its sound follows. */
const SLEPT_MS = 10_000;

/** @typedef {{ audioMs: number, at: number }} Anchor From this audio on, `audioMs` was heard at `at`. */

export class SoundClock {
  /** @type {Anchor[]} in the order of audio */
  #anchors = [];
  #begun;
  #interrupted = true;
  #last = { now: 0, heardMs: 0 };

  /** @param {number} begun Unix milliseconds; believed until there is sound @param {Anchor[]} [anchors] */
  constructor(begun, anchors = []) {
    this.#begun = begun;
    this.#anchors = anchors;
    this.#interrupted = anchors.length === 0;
  }

  /** Another number whenever times may be others than before. */
  get version() {
    return this.#anchors.length;
  }

  /** @param {number} now Unix milliseconds @param {number} heardMs audio of the session heard by now */
  heard(now, heardMs) {
    const slept = this.#last.now > 0 && now - this.#last.now > SLEPT_MS;
    if (this.#interrupted || slept) {
      const audioMs = this.#anchors.length === 0 ? 0 : this.#last.heardMs;
      this.#anchors.push({ audioMs, at: now - (heardMs - audioMs) });
      this.#interrupted = false;
    }
    this.#last = { now, heardMs };
  }

  /** The next sound does not follow on the last one. */
  interrupt() {
    this.#interrupted = true;
  }

  /** @param {number} audioMs @returns {number} when sound that begins there was heard, Unix milliseconds */
  at(audioMs) {
    return this.#place(audioMs, (anchor) => anchor.audioMs <= audioMs);
  }

  /** @param {number} audioMs @returns {number} when sound that ends there had been heard, Unix milliseconds */
  endAt(audioMs) {
    return this.#place(audioMs, (anchor) => anchor.audioMs < audioMs);
  }

  /** @param {number} fromMs @returns {SoundClock} that of a session that begins there in this one */
  from(fromMs) {
    const later = this.#anchors.filter(({ audioMs }) => audioMs > fromMs).map(({ audioMs, at }) => ({ audioMs: audioMs - fromMs, at }));
    const clock = new SoundClock(this.at(fromMs), this.#anchors.length ? [{ audioMs: 0, at: this.at(fromMs) }, ...later] : []);
    clock.#interrupted ||= this.#interrupted;
    clock.#last = { now: this.#last.now, heardMs: this.#last.heardMs - fromMs };
    return clock;
  }

  /** @param {number} audioMs @param {(anchor: Anchor) => boolean} before */
  #place(audioMs, before) {
    const anchor = this.#anchors.findLast(before) ?? this.#anchors[0] ?? { audioMs: 0, at: this.#begun };
    return anchor.at + audioMs - anchor.audioMs;
  }
}
