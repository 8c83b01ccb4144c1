/**
 * The WebSocket to the gateway: opens it, speaks `subtide.v1`, tells what comes back and why it ended. No DOM, and no
 * meaning of captions. One Link is one session; for the next one make another.
 *
 * @import { ClientMessage, ServerEvent, StartMessage } from './protocol.js'
 */

import { SUBPROTOCOL } from './protocol.js';

/** Audio held while the socket opens. Full: the oldest frame goes, so the session begins a little later. */
const MAX_WAITING_BYTES = 10 * 48_000 * 2;
/** Unsent audio in the socket. Full: the link ends with `too_slow`; dropping some silently would shift all times. */
const MAX_BUFFERED_BYTES = 30 * 48_000 * 2;
/** How long the server may take to open the session. */
const OPEN_TIMEOUT_MS = 15_000;
/** How long the server may take to send what it owes after `stop`. */
const STOP_TIMEOUT_MS = 30_000;

/**
 * @typedef {'connecting' | 'open' | 'stopping' | 'closed'} LinkState
 *
 * @typedef {'stopped' | 'ended' | 'error' | 'unauthorized' | 'forbidden' | 'overloaded' | 'refused' | 'unreachable' |
 *   'lost' | 'too_slow' | 'silent'} CloseCause Why the link closed: as asked; in order, by the server; after an `error`
 *   event; the server wants a token; the server refuses this page's origin; it is full; it refused otherwise; nobody
 *   answered; the connection broke; it could not carry the audio; the server did not answer in time.
 *
 * @typedef {object} Closed
 * @property {CloseCause} cause
 * @property {number} code WebSocket close code, 0 when there was none.
 * @property {string} reason As the server gave it.
 *
 * @typedef {object} LinkListener
 * @property {(state: LinkState) => void} state
 * @property {(event: ServerEvent) => void} event
 * @property {(closed: Closed) => void} closed Called once; nothing follows.
 */

export class Link {
  #url;
  #listener;
  /** @type {LinkState} */
  #state = 'connecting';
  /** @type {ArrayBuffer[]} */
  #waiting = [];
  #waitingBytes = 0;
  #opened = false;
  /** @type {CloseCause | null} */
  #cause = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #socket;

  /**
   * @param {string} url of the stream, `ws:` or `wss:`
   * @param {StartMessage} start
   * @param {LinkListener} listener
   */
  constructor(url, start, listener) {
    this.#url = url;
    this.#listener = listener;
    this.#socket = new WebSocket(url, [SUBPROTOCOL]);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onopen = () => this.#open(start);
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = ({ code, reason }) => void this.#close(code, reason);
    // A close follows every error and says as much.
    this.#socket.onerror = () => {};
    this.#deadline(OPEN_TIMEOUT_MS);
    listener.state('connecting');
  }

  /** @param {ArrayBuffer} pcm s16le in the layout that `start` told */
  send(pcm) {
    if (this.#state === 'stopping' || this.#state === 'closed') return;
    if (this.#opened) {
      this.#socket.send(pcm);
      if (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) this.#abandon('too_slow');
      return;
    }
    this.#waiting.push(pcm);
    this.#waitingBytes += pcm.byteLength;
    while (this.#waitingBytes > MAX_WAITING_BYTES) this.#waitingBytes -= this.#waiting.shift()?.byteLength ?? 0;
  }

  /** New languages from the next utterance on. @param {{ source: string, targets: string[] }} languages */
  update(languages) {
    this.#say({ type: 'update', ...languages });
  }

  /** Ends the open utterance now. */
  finalize() {
    this.#say({ type: 'finalize' });
  }

  /** No more audio: the server sends all it owes, and then the link closes. */
  stop() {
    if (this.#state === 'stopping' || this.#state === 'closed') return;
    if (!this.#opened) {
      this.#abandon('stopped');
      return;
    }
    this.#say({ type: 'stop' });
    this.#cause = 'stopped';
    this.#to('stopping');
    this.#deadline(STOP_TIMEOUT_MS);
  }

  /** @param {StartMessage} start */
  #open(start) {
    this.#opened = true;
    this.#say(start);
    for (const pcm of this.#waiting) this.#socket.send(pcm);
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  /** @param {ClientMessage} message */
  #say(message) {
    if (this.#opened && this.#state !== 'stopping' && this.#state !== 'closed') this.#socket.send(JSON.stringify(message));
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
      if (this.#state === 'connecting') {
        clearTimeout(this.#timer);
        this.#to('open');
      }
    } else if (event.type === 'error') {
      this.#cause = 'error';
    } else if (event.type === 'ended') {
      this.#cause = event.reason === 'stopped' ? 'stopped' : 'ended';
    }
    this.#listener.event(event);
  }

  /** @param {number} ms */
  #deadline(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#abandon('silent'), ms);
  }

  /** Closes from this side, without waiting for the other. @param {CloseCause} cause */
  #abandon(cause) {
    this.#cause = cause;
    this.#socket.onclose = null;
    this.#socket.close(1000);
    void this.#close(0, '');
  }

  /** @param {number} code @param {string} reason */
  async #close(code, reason) {
    clearTimeout(this.#timer);
    if (this.#state === 'closed') return;
    this.#to('closed');
    const cause = this.#cause ?? (this.#opened ? causeOf(code) : await whyRefused(this.#url));
    this.#listener.closed({ cause, code, reason });
  }

  /** @param {LinkState} state */
  #to(state) {
    this.#state = state;
    this.#listener.state(state);
  }
}

/** @param {number} code WebSocket close code that came without an `error` before it. @returns {CloseCause} */
function causeOf(code) {
  switch (code) {
    case 4401:
      return 'unauthorized';
    case 4403:
      return 'forbidden';
    case 1013:
      return 'overloaded';
    default:
      return 'lost';
  }
}

/**
 * A browser hides why a WebSocket was refused, so the same address is asked once more in plain HTTP.
 * @param {string} url
 * @returns {Promise<CloseCause>}
 */
async function whyRefused(url) {
  try {
    const { status } = await fetch(url.replace(/^ws/, 'http'), { cache: 'no-store', redirect: 'manual' });
    if (status === 401) return 'unauthorized';
    if (status === 403) return 'forbidden';
    return status === 429 || status === 503 ? 'overloaded' : 'refused';
  } catch {
    return 'unreachable';
  }
}
