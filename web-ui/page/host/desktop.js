/**
 * The desktop client around the page: sound, sessions, sign-in and files are its affair, in Rust. Asked by commands of
 * Tauri's; what it tells comes through a channel for each stream, and through events.
 *
 * @import { Closed } from '../link/link.js'
 * @import { SignInState } from '../people/sign-in.js'
 * @import { CaptureFault } from '../sound/capture.js'
 * @import { Command, Device, Host, Languages, Person, Stream, StreamListener, StreamRequest } from './host.js'
 * @import { Shown } from './shown.js'
 */

import { CaptureError } from '../sound/capture.js';
import { menuWords } from './program.js';
import { NAME } from './shown.js';

/**
 * @typedef {object} Tauri What the page uses of it.
 * @property {{ invoke: (command: string, args?: Record<string, unknown>) => Promise<any>, Channel: new () => { onmessage: (told: any) => void } }} core
 * @property {{ emit: (name: string, payload: unknown) => Promise<void>, listen: (name: string, told: (event: { payload: any }) => void) => Promise<() => void> }} event
 *
 * @typedef {{ type: 'state', state: import('../link/link.js').LinkState } |
 *   { type: 'event', event: import('../link/protocol.js').ServerEvent } | { type: 'anew', from_ms: number } |
 *   { type: 'level', peak: number, heard_ms: number } | { type: 'moved', label: string } |
 *   { type: 'gone', fault: CaptureFault } | { type: 'lost', from_ms: number, to_ms: number } |
 *   { type: 'closed', cause: Closed['cause'], code: number, reason: string, retry_after_ms: number }} Told
 */

/** Causes for which there is no session; what else `open_stream` fails with is a fault of sound. @type {readonly Closed['cause'][]} */
const REFUSALS = ['unauthorized', 'forbidden', 'overloaded', 'limited', 'quota', 'refused', 'unreachable', 'lost', 'silent', 'no_local'];
/** @type {readonly CaptureFault[]} */
const FAULTS = ['insecure', 'unsupported', 'denied', 'missing', 'busy', 'failed'];

/**
 * @param {(state: SignInState) => void} changed told whenever who is signed in changes
 * @param {Tauri} [tauri]
 * @returns {Host}
 */
export function desktopHost(changed, tauri = /** @type {{ __TAURI__: Tauri }} */ (/** @type {unknown} */ (globalThis)).__TAURI__) {
  const { invoke } = tauri.core;
  /** @type {Shown | null} */
  let last = null;
  void tauri.event.listen(NAME, ({ payload }) => {
    if (payload?.hello && last) void tauri.event.emit(NAME, last);
  });
  return {
    kind: 'desktop',
    person: personOf(tauri, changed),
    devices: () => /** @type {Promise<Device[]>} */ (invoke('devices')).catch(() => []),
    plugged: (told) => globalThis.navigator?.mediaDevices?.addEventListener('devicechange', told),
    open: (request, listener) => open(tauri, request, listener),
    save: (name, _type, text) => invoke('save_text', { name, text }),
    show: (shown) => {
      last = shown;
      void tauri.event.emit(NAME, shown);
    },
    notices: (listener) => {
      void tauri.event.listen('notice', ({ payload }) => listener(payload));
      // Those from before the page was there.
      void invoke('notices').then((all) => all.forEach(listener), () => {});
    },
    speak: () => void invoke('set_words', { words: menuWords() }).catch(() => {}),
    commands: (listener) => void tauri.event.listen('command', ({ payload }) => listener(/** @type {Command} */ (payload))),
  };
}

/** @param {Tauri} tauri @param {(state: SignInState) => void} changed @returns {Person} */
function personOf({ core: { invoke }, event }, changed) {
  /** @type {SignInState} */
  let state = { offered: false, person: null, provider: '', unclear: false };
  const to = (/** @type {SignInState} */ next) => {
    state = next;
    changed(next);
  };
  void event.listen('person', ({ payload }) => to(payload));
  return {
    get state() {
      return state;
    },
    begin: async () => to(await invoke('person').catch(() => ({ ...state, unclear: true }))),
    enter: async () => to(await invoke('sign_in')),
    end: async () => {
      await invoke('sign_out');
      to({ ...state, person: null, unclear: false });
    },
  };
}

/** @param {Tauri} tauri @param {StreamRequest} request @param {StreamListener} listener @returns {Promise<Stream>} */
async function open({ core }, request, listener) {
  let over = false;
  const told = new core.Channel();
  told.onmessage = (/** @type {Told} */ message) => {
    if (over) return;
    over = message.type === 'closed';
    hear(message, listener);
  };
  try {
    const id = await core.invoke('open_stream', { request, told });
    return new DesktopStream(core.invoke, id, listener);
  } catch (error) {
    const { fault, message } = refusalOf(error);
    const cause = REFUSALS.find((each) => each === fault);
    if (!cause) throw new CaptureError(faultOf(fault), new Error(message));
    if (!over) listener.closed({ cause, code: 0, reason: message, retryAfterMs: 0 });
    over = true;
    return new DesktopStream(async () => {}, -1, listener);
  }
}

/** @param {unknown} error of a command @returns {{ fault: string, message: string }} */
function refusalOf(error) {
  const { fault = 'failed', message = error } = Object(error);
  return { fault: String(fault), message: String(message) };
}

/** @param {string} fault @returns {CaptureFault} */
function faultOf(fault) {
  return FAULTS.find((each) => each === fault) ?? 'failed';
}

/** @param {Told} told @param {StreamListener} listener */
function hear(told, listener) {
  switch (told.type) {
    case 'state':
      return listener.state(told.state);
    case 'event':
      return listener.event(told.event);
    case 'anew':
      return listener.anew(told.from_ms);
    case 'level':
      return listener.level(told.peak, told.heard_ms);
    case 'moved':
      return listener.moved(told.label);
    case 'lost':
      return listener.lost(told.from_ms, told.to_ms);
    case 'gone':
      return listener.gone(told.fault);
    case 'closed':
      return listener.closed({ cause: told.cause, code: told.code, reason: told.reason, retryAfterMs: told.retry_after_ms });
  }
}

/** @implements {Stream} */
class DesktopStream {
  #invoke;
  #id;
  #listener;

  /** @param {Tauri['core']['invoke']} invoke @param {number} id @param {StreamListener} listener */
  constructor(invoke, id, listener) {
    this.#invoke = invoke;
    this.#id = id;
    this.#listener = listener;
  }

  /** @param {Languages} languages */
  update({ source, targets, glossary }) {
    void this.#ask('update_stream', { source, targets, glossary });
  }

  finalize() {
    void this.#ask('finalize_stream');
  }

  /** @param {boolean} paused */
  pause(paused) {
    this.#invoke('pause_stream', { id: this.#id, paused }).catch((error) => {
      if (paused) return;
      // The device cannot be opened again.
      this.#listener.gone(faultOf(refusalOf(error).fault));
      void this.stop();
    });
  }

  async stop() {
    await this.#ask('stop_stream');
  }

  hurry() {
    void this.#ask('hurry_stream');
  }
  /** A stream that ended meanwhile refuses; that it ended is told by its channel. @param {string} command @param {Record<string, unknown>} [more] */
  #ask(command, more = {}) {
    return this.#invoke(command, { id: this.#id, ...more }).catch(() => {});
  }
}
