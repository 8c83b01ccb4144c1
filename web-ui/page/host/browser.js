/**
 * A browser around the page: the microphone, what a tab or a screen plays, a WebSocket to the server that served the page.
 *
 * @import { Host, Languages, Person, Stream, StreamListener, StreamRequest } from './host.js'
 * @import { Shown } from './shown.js'
 * @import { Door } from '../link/link.js'
 * @import { SignInState } from '../people/sign-in.js'
 * @import { Frame } from '../sound/capture.js'
 */

import { Capture } from '../sound/capture.js';
import { glossaryOf } from '../link/glossary.js';
import { Link } from '../link/link.js';
import { STREAM_PATH } from '../link/protocol.js';
import { SIGN_IN_PATH, SignIn } from '../people/sign-in.js';
import { NAME } from './shown.js';

/** A file offered for download is kept so long for the browser to take it. */
const TAKEN_MS = 60_000;

/**
 * @param {(state: SignInState) => void} changed told whenever who is signed in changes
 * @returns {Host}
 */
export function browserHost(changed) {
  const signIn = new SignIn(changed);
  const overlays = new Overlays();
  return {
    kind: 'browser',
    person: personOf(signIn),
    devices,
    plugged: (told) => navigator.mediaDevices?.addEventListener('devicechange', told),
    open: (request, listener) => open(request, listener, signIn),
    save,
    show: (shown) => overlays.show(shown),
    // A browser has neither a tray nor shortcuts that work outside of it, and says what it has to say by itself.
    commands: () => {},
    notices: () => {},
    speak: () => {},
  };
}

/** @param {SignIn} signIn @returns {Person} */
function personOf(signIn) {
  return {
    get state() {
      return signIn.state;
    },
    begin: () => signIn.begin(),
    enter: async () => location.assign(SIGN_IN_PATH),
    end: () => signIn.end(),
  };
}

/** @returns {Promise<import('./host.js').Device[]>} microphones; without names until one was allowed */
async function devices() {
  const all = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  // Before anything is allowed there is one without an id, and `default` and `communications` are others by another name.
  const named = all.filter(({ kind, deviceId }) => kind === 'audioinput' && !['', 'default', 'communications'].includes(deviceId));
  return named.map(({ deviceId, label }) => ({ id: deviceId, label, channel: 'me' }));
}

/** @param {StreamRequest} request @param {StreamListener} listener @param {Door} door @returns {Promise<Stream>} */
async function open(request, listener, door) {
  const capture = await Capture.open(request.channel, request.device);
  return new BrowserStream(capture, request, listener, door);
}

/** @implements {Stream} */
class BrowserStream {
  #capture;
  #link;
  #listener;
  /** Since the session's first sample. */
  #samples = 0;

  /** @param {Capture} capture @param {StreamRequest} request @param {StreamListener} listener @param {Door} door */
  constructor(capture, request, listener, door) {
    this.#capture = capture;
    this.#listener = listener;
    const audio = /** @type {const} */ ({ encoding: 'pcm_s16le', sample_rate: capture.sampleRate, channels: 1 });
    const url = new URL(STREAM_PATH, location.href.replace(/^http/, 'ws')).href;
    const told = {
      state: listener.state,
      event: listener.event,
      anew: (/** @type {number} */ fromMs) => this.#anew(fromMs),
      closed: (/** @type {import('../link/link.js').Closed} */ closed) => {
        void capture.close();
        listener.closed(closed);
      },
    };
    this.#link = new Link(url, { type: 'start', audio, ...asked(request), partials: true }, told, door);
    const gone = (/** @type {import('../sound/capture.js').SoundFault} */ fault) => {
      listener.gone(fault);
      void this.stop();
    };
    capture.listen({ frame: (frame) => this.#heard(frame), moved: listener.moved, gone });
    if (capture.moved) listener.moved(capture.label);
  }

  /** @param {Languages} languages */
  update(languages) {
    this.#link.update({ glossary: [], ...asked(languages) });
  }

  finalize() {
    this.#link.finalize();
  }

  /** @param {boolean} paused */
  pause(paused) {
    this.#capture.pause(paused);
    if (paused) this.#link.finalize();
  }

  async stop() {
    await this.#capture.close();
    this.#link.stop();
  }

  hurry() {
    this.#link.hurry();
  }

  /** @param {Frame} frame */
  #heard({ pcm, peak, samples }) {
    this.#samples += samples;
    this.#link.send(pcm);
    this.#listener.level(peak, (this.#samples / this.#capture.sampleRate) * 1000);
  }

  /** @param {number} fromMs */
  #anew(fromMs) {
    this.#samples -= Math.round((fromMs / 1000) * this.#capture.sampleRate);
    this.#listener.anew(fromMs);
  }
}

/** @param {Languages} languages */
function asked({ source, targets, glossary }) {
  const terms = glossaryOf(glossary, targets);
  return { source, targets, ...(terms.length > 0 && { glossary: terms }) };
}

/** @param {string} name @param {string} type @param {string} text */
async function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), TAKEN_MS);
  return true;
}

/** Windows of this browser that draw captions over something else. */
class Overlays {
  #channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel(NAME) : null;
  /** @type {Shown | null} */
  #shown = null;

  constructor() {
    if (!this.#channel) return;
    this.#channel.onmessage = ({ data }) => {
      if (data?.hello && this.#shown) this.#channel?.postMessage(this.#shown);
    };
  }

  /** @param {Shown} shown */
  show(shown) {
    this.#shown = shown;
    this.#channel?.postMessage(shown);
  }
}
