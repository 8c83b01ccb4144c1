/**
 * What follows the end of a socket, and when to try again. A pure state machine: the caller brings the time and the dice.
 * docs/PROTOCOL.md tells the rules.
 *
 * @import { WireError } from './protocol.js'
 */

/** Each attempt waits a random part of this, and of twice as much each time after. */
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 5000;

/**
 * @typedef {'again' | 'renew' | 'anew' | 'end'} Sequel Connect again and resume; the same with another token; begin a new session;
 *   nothing more.
 */

/** Close codes that another connection can mend: away, abnormal, internal, restarting, overloaded. */
const MENDABLE = new Set([1001, 1005, 1006, 1011, 1012, 1013]);
/** Errors likewise, where they say that trying again helps. */
const MENDABLE_ERRORS = new Set(['internal', 'unavailable', 'overloaded']);

/**
 * @param {number} code WebSocket close code
 * @param {WireError | null} error the `error` event before it
 * @returns {Sequel}
 */
export function sequelOf(code, error) {
  if (error) {
    if (error.code === 'resume_expired') return 'anew';
    if (error.code === 'auth_error') return 'renew';
    return error.retryable && MENDABLE_ERRORS.has(error.code) ? 'again' : 'end';
  }
  if (code === 4410) return 'anew';
  if (code === 4401) return 'renew';
  return MENDABLE.has(code) ? 'again' : 'end';
}

/** When to try again, for as long as the server keeps the session. */
export class Retry {
  #windowMs = 0;
  /** @type {number | null} */
  #brokenAt = null;
  #ceiling = FIRST_WAIT_MS;

  /** The session goes on. @param {number} windowMs how long it can be resumed after its socket broke; 0: not at all */
  connected(windowMs) {
    this.#windowMs = windowMs;
    this.#brokenAt = null;
  }

  /** Something new came through the socket: the next failure starts from the beginning. */
  progressed() {
    this.#ceiling = FIRST_WAIT_MS;
  }

  /**
   * @param {number} now milliseconds
   * @param {number} dice 0 to 1
   * @param {number} notBefore milliseconds from now, as the server asked; 0 when it did not
   * @returns {number | null} milliseconds to wait, or null when the session will be gone by then
   */
  wait(now, dice, notBefore) {
    this.#brokenAt ??= now;
    const wait = Math.max(this.#ceiling * dice, notBefore);
    this.#ceiling = Math.min(this.#ceiling * 2, LONGEST_WAIT_MS);
    return now + wait - this.#brokenAt > this.#windowMs ? null : wait;
  }
}
