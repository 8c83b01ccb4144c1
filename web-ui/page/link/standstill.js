/**
 * Whether a socket that takes nothing more is dead, or its server only waits. A pure state machine: the caller brings the
 * time. A browser does not show a page the server's pings, so only a limit of time can tell the two apart.
 */

/**
 * A socket that passed nothing on for so long is taken for dead. A gateway that waits for its queue reads no more after
 * 10 s, for 36 s in all (30 s, and its last try): it must not be left meanwhile. And a dead socket has to be noticed in good
 * time before the 120 s are over for which the session can be resumed. It is also when the gateway takes us for dead.
 */
const STALLED_MS = 45_000;
/**
 * The same while the server has said that it reads no audio, which may be for minutes. When it is over, all that such a
 * server held unacknowledged (10 s, and what fills the buffers on the way) is still here (kept.js: 150 s), and the session
 * can still be resumed; a longer one would lose both, were the socket dead.
 */
const PAUSED_MS = 100_000;
/** A socket that passed nothing on for so long while the network was away is not waited for when the network is back. */
const SUSPECT_MS = 10_000;

export class Standstill {
  #bytes = 0;
  /** Since when nothing moves; null while nothing has to wait. @type {number | null} */
  #since = null;
  #paused = false;

  /** Whether the server has said that it reads no audio. */
  get paused() {
    return this.#paused;
  }

  /** Another socket: what was said through the one before no longer holds. */
  begin() {
    this.#paused = false;
    this.#since = null;
  }

  /** The server said that it reads no audio, or that it reads on; the time counts from here. @param {boolean} paused @param {number} now */
  pause(paused, now) {
    this.#paused = paused;
    if (this.#since !== null) this.#since = now;
  }

  /** The socket took all there is. */
  over() {
    this.#since = null;
  }

  /**
   * Something waits for the socket.
   * @param {number} bytes that it did not pass on yet
   * @param {boolean} took whether it was given more just now
   * @param {number} now milliseconds
   * @returns {boolean} whether it is dead
   */
  look(bytes, took, now) {
    if (took || bytes !== this.#bytes || this.#since === null) this.#since = now;
    this.#bytes = bytes;
    return now - this.#since > (this.#paused ? PAUSED_MS : STALLED_MS);
  }

  /** Whether the socket is better left when the network comes back. @param {number} now */
  suspect(now) {
    return this.#since !== null && now - this.#since > SUSPECT_MS;
  }
}
