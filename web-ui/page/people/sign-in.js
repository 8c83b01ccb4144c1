/**
 * Who the reader is: sign-in through the server, an access token that lives in this page's memory alone, refreshed by a
 * cookie that no script can read. No DOM.
 *
 * @import { Door } from '../link/link.js'
 */

import { DoorError, refusalOf } from '../link/door.js';

/** A token with less than this left is not shown at a door. */
const WORTH_USING_MS = 30_000;
/** Windows of this page take turns at the cookie: each refresh uses it up and brings the next one. */
const TURNS = 'subtide.refresh';
/** What the windows tell each other. */
const CHANNEL = 'subtide.sign-in';

/**
 * @typedef {{ id: string, email: string | null, name: string | null }} Person
 *
 * @typedef {object} SignInState
 * @property {boolean} offered Whether this server has sign-in at all.
 * @property {Person | null} person
 * @property {string} provider What people call who signs them in; empty without sign-in.
 * @property {boolean} unclear Whether the server could not be asked.
 * @property {boolean} [session_only] Whether the sign-in ends with the program, for want of a place to keep it safe.
 *
 * @typedef {object} Surroundings What is around the page, for tests to replace.
 * @property {typeof fetch} fetch
 * @property {() => number} now milliseconds
 * @property {<T>(work: () => Promise<T>) => Promise<T>} turn runs one at a time, over all windows
 * @property {{ postMessage: (message: unknown) => void, onmessage: ((event: MessageEvent) => void) | null } | null} channel
 */

/** @returns {Surroundings} those of a browser */
export function browser() {
  const locks = globalThis.navigator?.locks;
  return {
    fetch: globalThis.fetch.bind(globalThis),
    now: () => Date.now(),
    turn: async (work) => (locks ? await locks.request(TURNS, work) : work()),
    channel: 'BroadcastChannel' in globalThis ? new BroadcastChannel(CHANNEL) : null,
  };
}

/** @implements {Door} */
export class SignIn {
  #around;
  #changed;
  /** @type {SignInState} */
  #state = { offered: false, person: null, provider: '', unclear: false };
  #token = '';
  #until = 0;
  /** @type {Promise<string> | null} the refresh on its way */
  #refreshing = null;

  /** @param {(state: SignInState) => void} changed @param {Surroundings} [around] */
  constructor(changed, around = browser()) {
    this.#changed = changed;
    this.#around = around;
    if (around.channel) around.channel.onmessage = ({ data }) => data === 'signed out' && this.#forget();
  }

  /** @returns {SignInState} */
  get state() {
    return this.#state;
  }

  /**
   * Finds out whether there is sign-in, and whether somebody is signed in. A server without it is no error; one that does
   * not answer leaves it unclear, and has to be asked again.
   */
  async begin() {
    const config = await this.#ask('/auth/config', {}).catch(() => null);
    const told = config?.ok ? await config.json().catch(() => null) : null;
    if (typeof told?.sign_in !== 'boolean' && config?.status !== 404) {
      this.#to({ ...this.#state, unclear: true });
      return;
    }
    const offered = told?.sign_in === true;
    const person = offered ? this.#state.person : null;
    this.#to({ offered, person, provider: offered ? String(told.provider ?? '') : '', unclear: false });
    if (offered) await this.#refresh().catch(() => '');
  }

  /** Ends the sign-in, here, in other windows and on the server. */
  async end() {
    this.#forget();
    this.#around.channel?.postMessage('signed out');
    await this.#around.turn(() => this.#ask('/auth/logout', { method: 'POST' })).catch(() => null);
  }

  /** A ticket for one handshake, as a subprotocol; none where there is no sign-in. */
  async protocols() {
    if (!this.#state.offered) return [];
    let answer = await this.#ticket(await this.#usable());
    // The token may have been revoked or outlived by its key; a fresh one tells.
    if (answer.status === 401) answer = await this.#ticket(await this.#refresh());
    if (!answer.ok) throw new DoorError(await refusalOf(answer));
    const { ticket } = await answer.json();
    return [`ticket.${ticket}`];
  }

  async renewed() {
    return this.#state.offered ? this.#refresh() : null;
  }

  /** @returns {Promise<string>} an access token with some life left */
  async #usable() {
    return this.#around.now() + WORTH_USING_MS < this.#until ? this.#token : this.#refresh();
  }

  /** @param {string} token */
  async #ticket(token) {
    try {
      return await this.#ask('/v1/ticket', { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    } catch {
      throw new DoorError({ cause: 'unreachable', retryAfterMs: 0 });
    }
  }

  /** The next access token; whoever asks meanwhile gets the same. @returns {Promise<string>} */
  #refresh() {
    this.#refreshing ??= this.#around.turn(() => this.#next()).finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  /** @returns {Promise<string>} */
  async #next() {
    /** @type {Response} */
    let answer;
    try {
      answer = await this.#ask('/auth/refresh', { method: 'POST' });
    } catch {
      this.#to({ ...this.#state, unclear: true });
      throw new DoorError({ cause: 'unreachable', retryAfterMs: 0 });
    }
    if (!answer.ok) {
      const refused = await refusalOf(answer);
      // Too many requests or a server in trouble say nothing about who this is.
      if (refused.cause === 'unauthorized' || refused.cause === 'forbidden') this.#forget();
      else this.#to({ ...this.#state, unclear: true });
      throw new DoorError(refused);
    }
    const { access_token, expires_in, person } = await answer.json();
    this.#token = access_token;
    this.#until = this.#around.now() + expires_in * 1000;
    this.#to({ ...this.#state, person, unclear: false });
    return access_token;
  }

  #forget() {
    this.#token = '';
    this.#until = 0;
    this.#to({ ...this.#state, person: null, unclear: false });
  }

  /** @param {string} path @param {RequestInit} how */
  #ask(path, how) {
    return this.#around.fetch(path, { cache: 'no-store', credentials: 'same-origin', redirect: 'error', ...how });
  }

  /** @param {SignInState} state */
  #to(state) {
    this.#state = state;
    this.#changed(state);
  }
}

/** Where the reader signs in and comes back from. */
export const SIGN_IN_PATH = '/auth/login?return=/';
