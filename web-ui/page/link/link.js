/**
 * The link to the gateway: opens WebSockets, speaks `subtide.v1`, tells what comes back and why it ended. A socket that
 * breaks is replaced, and the session goes on where it was (kept.js, retry.js). No DOM, and no meaning of captions.
 *
 * @import { ClientMessage, GlossaryTerm, Resume, ServerEvent, StartMessage, WireError } from './protocol.js'
 * @import { CloseCause, Refused } from './door.js'
 * @import { Sequel } from './retry.js'
 */

import { causeOf, NO_DOOR, DoorError, whyRefused } from './door.js';
import { Kept } from './kept.js';
import { SUBPROTOCOL } from './protocol.js';
import { Retry, sequelOf } from './retry.js';
import { Standstill } from './standstill.js';

/** Unsent bytes in the socket beyond which more waits here: about a second and a half at 48 kHz. */
const ENOUGH_BUFFERED_BYTES = 128 * 1024;
/** How often a socket that has enough is looked at again. */
const PUMP_MS = 50;
/** How long the server may take to open the session. */
const OPEN_TIMEOUT_MS = 15_000;
/** How long the server may take to send what it owes after `stop`, once there is a socket to send it through: longer than it waits for its queue. */
const STOP_TIMEOUT_MS = 45_000;

/**
 * @typedef {'connecting' | 'open' | 'reconnecting' | 'stopping' | 'closed'} LinkState
 *
 * @typedef {object} Closed
 * @property {CloseCause} cause
 * @property {number} code WebSocket close code, 0 when there was none.
 * @property {string} reason As the server gave it.
 * @property {number} retryAfterMs When to try again; 0 when the server did not say.
 *
 * @typedef {object} LinkListener
 * @property {(state: LinkState) => void} state
 * @property {(event: ServerEvent) => void} event Each number of a session once, in growing order; and the link's own `gap`s (`not_kept`).
 * @property {(fromMs: number) => void} [anew] The session was lost. What follows is a new one, whose first sample is this
 *   much after the first one of the session before.
 * @property {(closed: Closed) => void} closed Called once; nothing follows.
 *
 * @typedef {object} Door How to get in.
 * @property {() => Promise<string[]>} protocols Subprotocols that show who this is, for one handshake. Throws DoorError.
 * @property {() => Promise<string | null>} renewed A token in place of one that is about to end.
 */

export class Link {
  #url;
  #start;
  #listener;
  #door;
  #kept;
  #retry = new Retry();
  /** @type {LinkState} */
  #state = 'connecting';
  /** @type {WebSocket | null} */
  #socket = null;
  /** Whether the session is open on the present socket. */
  #started = false;
  /** Whether the present socket was given `start`: what is chosen from here on has to be said besides. */
  #greeted = false;
  /** @type {Resume | null} */
  #resume = null;
  #seen = 0;
  /** Counts attempts to connect, so that the answer to one given up is known to be late. */
  #attempt = 0;
  /** @type {WireError | null} */
  #error = null;
  /** @type {'stopped' | 'draining' | null} */
  #ended = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #stopTimer;
  #stopMs;
  /** When a session that is to stop is given up, however often its socket comes back. */
  #stopUntil = Infinity;
  #windowMs = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pump;
  #standstill = new Standstill();
  /** Whether more than can be kept waits because the server had paused, not because the connection is slow. */
  #excused = false;

  /**
   * @param {string} url of the stream, `ws:` or `wss:`
   * @param {StartMessage} start
   * @param {LinkListener} listener
   * @param {Door} [door]
   * @param {number} [stopMs] in place of STOP_TIMEOUT_MS
   */
  constructor(url, start, listener, door = NO_DOOR, stopMs = STOP_TIMEOUT_MS) {
    this.#url = url;
    this.#start = start;
    this.#listener = listener;
    this.#door = door;
    this.#stopMs = stopMs;
    this.#kept = new Kept(start.audio);
    listener.state('connecting');
    void this.#connect();
  }

  /** Audio heard and not yet sent, milliseconds. */
  get waitingMs() {
    return this.#kept.waitingMs;
  }

  /** @param {ArrayBuffer} pcm s16le in the layout that `start` told */
  send(pcm) {
    if (this.#state === 'stopping' || this.#state === 'closed') return;
    this.#kept.hear(pcm);
    this.#excused &&= this.#kept.full || this.#standstill.paused;
    if (this.#started && this.#kept.stuck && !this.#excused) this.#finish('too_slow', 0, '');
    else this.#flow();
  }

  /** New languages from the next utterance on, another glossary at once. @param {{ source: string, targets: string[], glossary?: GlossaryTerm[] }} languages */
  update(languages) {
    // Also for a session that has to begin anew.
    this.#start = { ...this.#start, ...languages };
    this.#say({ type: 'update', ...languages });
  }

  /** Ends the open utterance now. */
  finalize() {
    this.#say({ type: 'finalize' });
  }

  /** No more audio: the server sends all it owes, and then the link closes. */
  stop() {
    if (this.#state === 'stopping' || this.#state === 'closed') return;
    if (!this.#started && !this.#resume) {
      this.#finish('stopped', 0, '');
      return;
    }
    this.#say({ type: 'stop' });
    this.#to('stopping');
    this.#stopUntil = Date.now() + this.#windowMs + this.#stopMs;
    // Without a socket nothing can come yet, and #again knows for how long one is tried for.
    if (this.#started) this.#awaitRest();
  }

  #awaitRest() {
    clearTimeout(this.#stopTimer);
    const most = this.#standstill.paused ? Infinity : this.#stopMs;
    this.#stopTimer = setTimeout(() => this.#finish('silent', 0, ''), Math.min(most, this.#stopUntil - Date.now()));
  }

  /** Tries again at once, where it waits to: the network is back. A socket that stood still meanwhile is left. */
  hurry() {
    if (!this.#resume || this.#state === 'closed') return;
    if (this.#started && this.#standstill.suspect(Date.now())) this.#interrupt(1006);
    if (this.#socket) return;
    clearTimeout(this.#timer);
    void this.#connect();
  }

  async #connect() {
    this.#attempt += 1;
    const mine = this.#attempt;
    this.#timer = setTimeout(() => this.#silent(), OPEN_TIMEOUT_MS);
    /** @type {string[]} */
    let shown;
    try {
      shown = await this.#door.protocols();
    } catch (error) {
      if (mine === this.#attempt) this.#failed(error instanceof DoorError ? error.refused : { cause: 'unreachable', retryAfterMs: 0 });
      return;
    }
    if (this.#state === 'closed' || mine !== this.#attempt) return;
    // A session that goes on needs no second place.
    const goesOn = this.#resume ? [`resume.${this.#resume.token.split('.')[0]}`] : [];
    const socket = new WebSocket(this.#url, [SUBPROTOCOL, ...shown, ...goesOn]);
    let opened = false;
    this.#socket = socket;
    this.#error = null;
    this.#ended = null;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      opened = true;
      this.#greeted = true;
      socket.send(JSON.stringify({ ...this.#start, ...(this.#resume && { resume: { ...this.#resume, last_event: this.#seen } }) }));
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    // A close follows every error and says as much.
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => {
      this.#leave();
      if (opened) this.#broken(code, reason);
      else void this.#explain();
    };
  }

  /** @param {ClientMessage} message */
  #say(message) {
    if (this.#state === 'stopping' || this.#state === 'closed') return;
    if (!this.#greeted && !this.#resume) return;
    this.#kept.say(message);
    this.#flow();
  }

  /** Gives the socket what is waiting, as fast as it takes it. */
  #flow() {
    clearTimeout(this.#pump);
    const socket = this.#socket;
    if (!this.#started || !socket) return;
    const took = socket.bufferedAmount < ENOUGH_BUFFERED_BYTES;
    let item;
    while (item !== null && socket.bufferedAmount < ENOUGH_BUFFERED_BYTES) {
      item = this.#kept.take();
      if (item) socket.send(item instanceof ArrayBuffer ? item : JSON.stringify(item));
    }
    if (item === null) this.#standstill.over();
    else if (this.#standstill.look(socket.bufferedAmount, took, Date.now())) this.#interrupt(1006);
    else this.#pump = setTimeout(() => this.#flow(), PUMP_MS);
    const lost = this.#kept.lost();
    if (lost) this.#listener.event({ event: this.#seen, type: 'gap', ...lost, reason: 'not_kept' });
  }

  /** @param {string} code */
  #warned(code) {
    if (code === 'token_expiring') void this.#renew();
    if (code !== 'audio_paused' && code !== 'audio_resumed') return;
    this.#standstill.pause(code === 'audio_paused', Date.now());
    this.#excused ||= this.#standstill.paused;
    if (this.#state === 'stopping') this.#awaitRest();
  }

  /** @param {unknown} data */
  #receive(data) {
    if (this.#state === 'closed' || typeof data !== 'string') return;
    /** @type {ServerEvent} */
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return;
    }
    if (event.type === 'started') {
      // A second one on a socket is one that an earlier socket did not live to bring.
      if (!this.#started) this.#begin(event);
      return;
    }
    if (event.type === 'ack') this.#kept.release(event.audio_ms);
    if (event.type === 'warning') this.#warned(event.code);
    if (event.type === 'error') {
      this.#error = event;
      if (this.#resume && this.#sequel(0) !== 'end') return;
    }
    if (event.type === 'ended') {
      this.#ended = event.reason;
      if (this.#resume && event.reason === 'draining') return;
    }
    if (event.event <= this.#seen) return;
    this.#seen = event.event;
    this.#retry.progressed();
    this.#listener.event(event);
  }

  /** @param {Extract<ServerEvent, { type: 'started' }>} event */
  #begin(event) {
    clearTimeout(this.#timer);
    const windowMs = event.limits.resume_window_ms ?? 0;
    this.#windowMs = windowMs;
    const before = this.#resume;
    this.#started = true;
    this.#retry.connected(windowMs);
    this.#resume = windowMs > 0 ? { token: event.resume_token, last_event: 0 } : null;
    this.#standstill.begin();
    if (event.resumed) {
      // Not counted as seen: what was missed has lower numbers, and follows.
      this.#kept.rewind(event.audio_ms ?? 0);
    } else {
      if (before) this.#forget();
      this.#kept.rewind(0);
      this.#seen = event.event;
    }
    if (this.#state === 'stopping') this.#awaitRest();
    else this.#to('open');
    this.#listener.event(event);
    this.#flow();
  }

  /** What is kept becomes the beginning of another session. */
  #forget() {
    this.#resume = null;
    this.#seen = 0;
    this.#listener.anew?.(this.#kept.rebase());
  }

  async #renew() {
    const token = await this.#door.renewed().catch(() => null);
    if (token && this.#started && this.#socket) this.#socket.send(JSON.stringify({ type: 'auth', token }));
  }

  /** The socket is gone, or was given up. */
  #leave() {
    this.#attempt += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#pump);
    clearTimeout(this.#stopTimer);
    const socket = this.#socket;
    this.#socket = null;
    this.#started = false;
    this.#greeted = false;
    if (!socket) return;
    socket.onclose = null;
    socket.onmessage = null;
    socket.onopen = null;
    if (socket.readyState < 2) socket.close(1000);
  }

  /** Gives a dead socket up. @param {number} code */
  #interrupt(code) {
    this.#leave();
    this.#broken(code, '');
  }

  #silent() {
    if (this.#resume) this.#interrupt(1006);
    else this.#finish('silent', 0, '');
  }

  /** A socket that was open ended, and what follows. @param {number} code @param {string} reason */
  #broken(code, reason) {
    const error = this.#error;
    if (this.#ended === 'stopped') this.#finish('stopped', code, reason);
    else if (!this.#resume) this.#finish(error ? 'error' : this.#ended ? 'ended' : causeOf(code), code, reason);
    else if (this.#ended === 'draining') this.#again(0);
    else {
      const sequel = this.#sequel(code);
      if (sequel === 'renew') void this.#knock();
      else if (sequel === 'again') this.#again(error?.retry_after_ms ?? 0);
      else if (sequel === 'end') this.#finish(error ? 'error' : causeOf(code), code, reason);
      else {
        this.#forget();
        if (this.#state !== 'stopping') this.#to('reconnecting');
        void this.#connect();
      }
    }
  }

  /** The handshake failed; a browser does not tell why. */
  async #explain() {
    const mine = this.#attempt;
    const refused = await whyRefused(this.#url);
    if (mine === this.#attempt) this.#failed(refused);
  }

  /** @param {number} code @returns {Sequel} what follows; where nobody signs in there is no other token */
  #sequel(code) {
    const sequel = sequelOf(code, this.#error);
    return sequel === 'renew' && this.#door === NO_DOOR ? 'end' : sequel;
  }

  /** Comes back with another token: the one the session was opened with has ended. */
  async #knock() {
    const mine = this.#attempt;
    if (this.#state !== 'stopping') this.#to('reconnecting');
    try {
      const token = await this.#door.renewed();
      if (mine !== this.#attempt) return;
      if (token) this.#again(0);
      else this.#finish('unauthorized', 0, '');
    } catch (error) {
      if (mine === this.#attempt) this.#failed(error instanceof DoorError ? error.refused : { cause: 'unreachable', retryAfterMs: 0 });
    }
  }

  /** There was no socket. @param {Refused} refused */
  #failed({ cause, retryAfterMs }) {
    if (this.#state === 'closed') return;
    const hopeless = cause === 'unauthorized' || cause === 'forbidden';
    if (!this.#resume || hopeless) this.#finish(cause, 0, '', retryAfterMs);
    else this.#again(retryAfterMs);
  }

  /** @param {number} notBefore milliseconds */
  #again(notBefore) {
    clearTimeout(this.#timer);
    const wait = this.#retry.wait(Date.now(), Math.random(), notBefore);
    if (wait === null) {
      this.#finish('lost', 0, '');
      return;
    }
    if (this.#state === 'open') this.#to('reconnecting');
    this.#timer = setTimeout(() => void this.#connect(), wait);
  }

  /** @param {CloseCause} cause @param {number} code @param {string} reason @param {number} [retryAfterMs] */
  #finish(cause, code, reason, retryAfterMs = 0) {
    if (this.#state === 'closed') return;
    this.#leave();
    this.#to('closed');
    this.#listener.closed({ cause, code, reason, retryAfterMs });
  }

  /** @param {LinkState} state */
  #to(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#listener.state(state);
  }
}
