/**
 * The browser's host: sound by faked globals, since node has none; sessions against a real WebSocket server, the stub of
 * dev/. Needs `npm ci`.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';

/** @import { StreamListener, StreamRequest } from '../page/host/host.js' */

const ws = await import('ws').catch(() => null);
const skip = ws ? false : 'the packages are not there: npm ci';

const RATE = 16_000;
/** One frame of 100 ms, as the audio thread gives it. */
const frame = () => ({ pcm: new ArrayBuffer(3200), peak: 0.5, samples: 1600 });

class Track {
  enabled = true;
  stopped = false;
  /** @type {(() => void) | null} */
  onended = null;
  /** @param {'audio' | 'video'} kind @param {string} label */
  constructor(kind, label) {
    this.kind = kind;
    this.label = label;
  }
  stop() {
    this.stopped = true;
  }
}

class Sound {
  /** @param {Track[]} tracks */
  constructor(...tracks) {
    this.tracks = tracks;
  }
  getTracks = () => [...this.tracks];
  getAudioTracks = () => this.tracks.filter(({ kind }) => kind === 'audio');
  getVideoTracks = () => this.tracks.filter(({ kind }) => kind === 'video');
  removeTrack = (/** @type {Track} */ gone) => void (this.tracks = this.tracks.filter((track) => track !== gone));
}

/** The newest. @type {Node | null} */
let node = null;
class Node {
  port = { onmessage: (/** @type {any} */ _event) => {}, postMessage: () => queueMicrotask(() => { this.port.onmessage({ data: frame() }); this.port.onmessage({ data: null }); }) };
  constructor() {
    node = this;
  }
}
class Context {
  state = 'running';
  sampleRate = RATE;
  onstatechange = null;
  audioWorklet = { addModule: async () => {} };
  sources = 0;
  createMediaStreamSource() {
    this.sources += 1;
    return { connect: () => {}, disconnect: () => void (this.sources -= 1) };
  }
  suspend = async () => void (this.state = 'suspended');
  resume = async () => void (this.state = 'running');
  close = async () => void (this.state = 'closed');
}

const Listening = BroadcastChannel;
/** Lets node end while the page would go on listening. */
class Windows extends BroadcastChannel {
  /** @param {string} name */
  constructor(name) {
    super(name);
    /** @type {any} */ (this).unref();
  }
}

/** @type {any} what this machine has; each test says */
const media = new EventTarget();
const fakes = { isSecureContext: true, navigator: { mediaDevices: media }, AudioContext: Context, AudioWorkletNode: Node, BroadcastChannel: Windows, ...(ws && { WebSocket: ws.WebSocket }) };
for (const [name, value] of Object.entries(fakes)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
const { browserHost } = await import('../page/host/browser.js');
const { CaptureError } = await import('../page/sound/capture.js');
const { NAME } = await import('../page/host/shown.js');

/** @param {string} name of a DOMException */
const refusal = (name) => Promise.reject(new DOMException('', name));
/** @param {'me' | 'them'} channel @param {Partial<StreamRequest>} [more] @returns {StreamRequest} */
const request = (channel, more) => ({ channel, device: '', source: 'en', targets: ['es'], glossary: [], ...more });

/** @returns {{ said: any[][], listener: StreamListener, until: (what: string) => Promise<any[]> }} */
function ears() {
  /** @type {any[][]} */
  const said = [];
  /** @type {(() => void)[]} */
  let waiting = [];
  const note = (/** @type {string} */ what) => (/** @type {any[]} */ ...more) => {
    said.push([what, ...more]);
    const now = waiting;
    waiting = [];
    for (const go of now) go();
  };
  const until = async (/** @type {string} */ what) => {
    for (;;) {
      const found = said.find(([each]) => each === what);
      if (found) return found;
      await new Promise((go) => waiting.push(() => go(null)));
    }
  };
  return { said, until, listener: { state: note('state'), event: note('event'), anew: note('anew'), level: note('level'), moved: note('moved'), lost: note('lost'), gone: note('gone'), closed: note('closed') } };
}

/** With the stub as the page's server. @param {object} options @param {(stub: any) => Promise<void>} act */
async function served(options, act) {
  const { serve } = await import('../dev/stub-server.mjs');
  const stub = await serve({ wordMs: 5, ...options });
  Object.defineProperty(globalThis, 'location', { value: new URL(stub.url), configurable: true, writable: true });
  try {
    await act(stub);
  } finally {
    stub.drop();
    stub.server.closeAllConnections();
    await new Promise((done) => stub.server.close(done));
  }
}

test('what a tab plays is heard without its pictures, and all of it arrives', { skip }, async () => {
  const [audio, video] = [new Track('audio', 'Tab'), new Track('video', 'Tab')];
  /** @type {any} */
  let asked;
  media.getDisplayMedia = async (/** @type {any} */ wishes) => ((asked = wishes), new Sound(video, audio));
  await served({}, async (stub) => {
    const { said, listener, until } = ears();
    const stream = await browserHost(() => {}).open(request('them', { glossary: [{ term: 'tide', translations: { es: 'marea' } }] }), listener);
    assert.ok(asked.video && asked.audio.echoCancellation === false);
    assert.deepEqual([video.stopped, audio.stopped], [true, false]);
    for (let n = 0; n < 3; n += 1) node?.port.onmessage({ data: frame() });
    assert.deepEqual(said.filter(([what]) => what === 'level').map(([, , heardMs]) => heardMs), [100, 200, 300]);
    await until('event');
    stream.update({ source: 'en', targets: ['ar'], glossary: [] });
    await stream.stop();
    assert.equal((await until('closed'))[1].cause, 'stopped');
    assert.ok(audio.stopped);
    assert.deepEqual(stub.received.start.glossary, [{ source: 'tide', target: 'marea' }]);
    assert.deepEqual(stub.received.messages.at(-2), { type: 'update', source: 'en', targets: ['ar'], glossary: [] });
    assert.equal(stub.received.bytes, 4 * 3200, 'the frame begun is given out at the end');
  });
});

test('no sound shared, nothing shared, and a browser that cannot: each is told as what it is', async () => {
  const host = browserHost(() => {});
  const fault = async () => host.open(request('them'), ears().listener).then(() => 'none', (error) => error instanceof CaptureError && error.fault);
  const video = new Track('video', 'Screen');
  media.getDisplayMedia = async () => new Sound(video);
  assert.equal(await fault(), 'unshared');
  assert.ok(video.stopped, 'nothing stays shared');
  media.getDisplayMedia = () => refusal('NotAllowedError');
  assert.equal(await fault(), 'denied');
  media.getDisplayMedia = () => Promise.reject(new TypeError('audio cannot be shared'));
  assert.equal(await fault(), 'unsupported');
  delete media.getDisplayMedia;
  assert.equal(await fault(), 'unsupported');
});

test('the chosen microphone is asked for; one that is not there is told, and the default one heard', { skip }, async () => {
  /** @type {any[]} */
  const asked = [];
  media.getUserMedia = async (/** @type {any} */ { audio }) => {
    asked.push(audio.deviceId?.exact ?? 'default');
    return audio.deviceId?.exact === 'gone' ? refusal('OverconstrainedError') : new Sound(new Track('audio', 'Built in'));
  };
  await served({}, async () => {
    for (const [device, moved] of /** @type {const} */ ([['usb', []], ['gone', [['moved', 'Built in']]]])) {
      const { said, listener, until } = ears();
      const stream = await browserHost(() => {}).open(request('me', { device }), listener);
      assert.deepEqual(said.filter(([what]) => what === 'moved'), moved);
      await until('event');
      await stream.stop();
      await until('closed');
    }
  });
  assert.deepEqual(asked, ['usb', 'gone', 'default']);
  media.getUserMedia = () => refusal('NotAllowedError');
  await assert.rejects(browserHost(() => {}).open(request('me', { device: 'usb' }), ears().listener), (error) => error instanceof CaptureError && error.fault === 'denied');
});

test('a microphone that is pulled out gives way to the next, in the same session; without one what was said still comes', { skip }, async () => {
  const tracks = [new Track('audio', 'Headset'), new Track('audio', 'Built in')];
  let next = 0;
  media.getUserMedia = async () => {
    const track = tracks[next++];
    return track ? new Sound(track) : refusal('NotFoundError');
  };
  await served({}, async (stub) => {
    const { said, listener, until } = ears();
    await browserHost(() => {}).open(request('me'), listener);
    await until('event');
    tracks[0]?.onended?.();
    assert.deepEqual(await until('moved'), ['moved', 'Built in']);
    node?.port.onmessage({ data: frame() });
    tracks[1]?.onended?.();
    assert.deepEqual(await until('gone'), ['gone', 'missing']);
    assert.equal((await until('closed'))[1].cause, 'stopped');
    assert.equal(said.filter(([what]) => what === 'closed').length, 1);
    assert.equal(stub.received.sockets, 1);
  });
});

test('while paused nothing is heard, nothing is sent, and the device is kept', { skip }, async () => {
  const track = new Track('audio', 'Built in');
  media.getUserMedia = async () => new Sound(track);
  await served({}, async (stub) => {
    const { said, listener, until } = ears();
    const stream = await browserHost(() => {}).open(request('me'), listener);
    await until('event');
    node?.port.onmessage({ data: frame() });
    stream.pause(true);
    node?.port.onmessage({ data: frame() });
    assert.deepEqual([track.enabled, track.stopped], [false, false]);
    stream.pause(false);
    node?.port.onmessage({ data: frame() });
    await stream.stop();
    await until('closed');
    assert.deepEqual(said.filter(([what]) => what === 'level').map(([, , heardMs]) => heardMs), [100, 200, 300]);
    assert.equal(stub.received.bytes, 3 * 3200);
    assert.deepEqual(stub.received.messages.map((/** @type {any} */ { type }) => type), ['start', 'finalize', 'stop']);
  });
});

test('microphones are offered by their names, without those that are another under a second name', async () => {
  const all = [['audioinput', 'default', 'Default'], ['audioinput', 'communications', 'C'], ['audioinput', 'a1', 'Headset'], ['audiooutput', 'o1', 'Speakers'], ['audioinput', '', '']];
  media.enumerateDevices = async () => all.map(([kind, deviceId, label]) => ({ kind, deviceId, label }));
  const host = browserHost(() => {});
  assert.deepEqual(await host.devices(), [{ id: 'a1', label: 'Headset', channel: 'me' }]);
  let plugged = 0;
  host.plugged(() => (plugged += 1));
  media.dispatchEvent(new Event('devicechange'));
  assert.equal(plugged, 1);
});

test('an overlay is told what is drawn, and again when it opens', async () => {
  const overlay = new Listening(NAME);
  /** @type {any[]} */
  const heard = [];
  let go = () => {};
  overlay.onmessage = (/** @type {any} */ { data }) => {
    heard.push(data);
    go();
  };
  const shown = { lines: [], targets: ['es'], labels: true, state: 'open', behindMs: 1200 };
  const host = browserHost(() => {});
  for (const say of [() => host.show(shown), () => overlay.postMessage({ hello: true })]) {
    const told = new Promise((done) => (go = () => done(null)));
    say();
    await told;
  }
  assert.deepEqual(heard, [shown, shown]);
  overlay.close();
});
