/**
 * How old the audio under a caption is when the caption is shown. No DOM; the caller brings the time.
 * The server counts audio in milliseconds since the first sample it got; the page knows when it heard each of them.
 *
 * @import { Channel } from '../host/host.js'
 */

/** Marks kept, at one per 100 ms frame: two minutes. A caption older than that has no latency worth showing. */
const MAX_MARKS = 1200;
/** Latest measurements the median is taken over. */
const MAX_SAMPLES = 21;

/** When each stretch of audio was heard. */
export class AudioClock {
  /** @type {{ audioMs: number, at: number }[]} */
  #marks = [];

  /** @param {number} audioMs audio sent so far @param {number} at when its last sample was heard, milliseconds */
  mark(audioMs, at) {
    this.#marks.push({ audioMs, at });
    if (this.#marks.length > MAX_MARKS) this.#marks.shift();
  }

  /**
   * When the audio ending at `audioMs` was heard.
   * @param {number} audioMs
   * @returns {number | null} null when it is too long ago or not yet sent
   */
  heardAt(audioMs) {
    let low = 0;
    let high = this.#marks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#marks[middle]?.audioMs ?? 0) < audioMs) low = middle + 1;
      else high = middle;
    }
    const mark = this.#marks[low];
    if (!mark || (low === 0 && this.#marks.length === MAX_MARKS)) return null;
    return mark.at - (mark.audioMs - audioMs);
  }

  /** A new session began `fromMs` after the first sample of the one before. @param {number} fromMs */
  rebase(fromMs) {
    for (const mark of this.#marks) mark.audioMs -= fromMs;
  }

  clear() {
    this.#marks = [];
  }
}

/** The median of the latest measurements. */
export class Latency {
  /** @type {number[]} */
  #samples = [];

  /** @param {number} ms */
  add(ms) {
    this.#samples.push(Math.max(0, ms));
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
  }

  /** @returns {number | null} milliseconds, null before the first */
  median() {
    const sorted = [...this.#samples].sort((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? null;
  }

  clear() {
    this.#samples = [];
  }
}

/** Of all channels: each has a clock and measurements of its own. */
export class Delays {
  /** @type {Map<Channel, { clock: AudioClock, source: Latency, target: Latency }>} */
  #channels = new Map();

  /** A session begins there. @param {Channel} channel */
  begin(channel) {
    this.#channels.set(channel, { clock: new AudioClock(), source: new Latency(), target: new Latency() });
  }

  /** @param {Channel} channel @param {number} audioMs heard by now @param {number} now */
  heard(channel, audioMs, now) {
    this.#channels.get(channel)?.clock.mark(audioMs, now);
  }

  /** @param {Channel} channel @param {number} fromMs as in AudioClock */
  rebase(channel, fromMs) {
    this.#channels.get(channel)?.clock.rebase(fromMs);
  }

  /**
   * Text is on the screen now.
   * @param {Channel} channel @param {'source' | 'target'} text
   * @param {number | null} endMs of the audio it was heard in; null when nobody knows
   * @param {number} now
   */
  drawn(channel, text, endMs, now) {
    const held = this.#channels.get(channel);
    const heardAt = endMs === null ? null : (held?.clock.heardAt(endMs) ?? null);
    if (heardAt !== null) held?.[text].add(now - heardAt);
  }

  /** @param {'source' | 'target'} text @returns {number | null} milliseconds, of the channel that waits longest; null before the first */
  median(text) {
    const medians = [...this.#channels.values()].map((held) => held[text].median()).filter((median) => median !== null);
    return medians.length > 0 ? Math.max(...medians) : null;
  }
}
