/**
 * A server that reads no audio for a while: the link waits for it, and not for ever. Real sockets, whose server stops reading;
 * only the clock of the link is the test's, so that minutes need not be waited for.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Standstill } from '../page/link/standstill.js';

/** @import { Closed } from '../page/link/link.js' */
/** @import { ServerEvent, StartMessage } from '../page/link/protocol.js' */

const ws = await import('ws').catch(() => null);
const skip = ws ? false : 'the packages are not there: npm ci';
/** Unsent bytes that the system's own buffers did not take. */
const FULL_BYTES = 128 * 1024;
/** As much as two channels at 48 kHz are in a tenth of a second. */
const FRAME_BYTES = 19_200;
const PATIENCE_MS = 20_000;

/** @type {StartMessage} */
const START = { type: 'start', audio: { encoding: 'pcm_s16le', sample_rate: 48_000, channels: 2 }, source: 'en', targets: [] };
const LIMITS = { max_message_bytes: 65536, max_targets: 4, max_utterance_ms: 20000, idle_timeout_ms: 600000, resume_window_ms: 120_000 };

/** The clock of the link, which goes on when the test says so. */
class Clock {
  #now = Date.now();
  #next = 1;
  /** @type {Map<number, { at: number, due: () => void }>} */
  #timers = new Map();
  #real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout, now: Date.now };

  begin() {
    const set = (/** @type {() => void} */ due, ms = 0) => {
      this.#timers.set((this.#next += 1), { at: this.#now + ms, due });
      return this.#next;
    };
    Object.assign(globalThis, { setTimeout: set, clearTimeout: (/** @type {number} */ id) => this.#timers.delete(id) });
    Date.now = () => this.#now;
  }

  end() {
    Date.now = this.#real.now;
    Object.assign(globalThis, { setTimeout: this.#real.setTimeout, clearTimeout: this.#real.clearTimeout });
  }

  /** @param {number} ms */
  pass(ms) {
    const until = this.#now + ms;
    for (;;) {
      const [first] = [...this.#timers].filter(([, { at }]) => at <= until).sort(([, one], [, other]) => one.at - other.at);
      if (!first) break;
      this.#timers.delete(first[0]);
      this.#now = Math.max(this.#now, first[1].at);
      first[1].due();
    }
    this.#now = until;
  }
}

const breath = () => new Promise((done) => setImmediate(() => done(undefined)));

/** One session at a server that the test lets read or not. */
class Scene {
  /** @type {string[]} */
  states = [];
  /** @type {ServerEvent[]} */
  events = [];
  /** @type {Closed | null} */
  closed = null;
  /** @type {import('ws').WebSocketServer | undefined} */
  server;
  /** @type {import('../page/link/link.js').Link | undefined} */
  link;
  sockets = 0;
  heard = 0;
  zeros = 0;
  /** @type {import('ws').WebSocket | null} */
  #socket = null;
  #number = 0;
  #clock = new Clock();
  /** @type {WebSocket | null} */
  #mine = null;

  static async begin() {
    assert.ok(ws);
    const scene = new Scene();
    const { Link } = await import('../page/link/link.js');
    scene.#clock.begin();
    const note = (/** @type {WebSocket} */ socket) => (scene.#mine = socket);
    Object.assign(globalThis, { WebSocket: class extends ws.WebSocket {
      /** @param {string} url @param {string[]} protocols */
      constructor(url, protocols) {
        super(url, protocols);
        note(/** @type {any} */ (this));
      }
    } });
    scene.server = new ws.WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'subtide.v1' });
    await new Promise((done) => scene.server?.once('listening', done));
    scene.server.on('connection', (socket) => scene.#admit(socket));
    const { port } = /** @type {import('node:net').AddressInfo} */ (scene.server.address());
    scene.link = new Link(`ws://127.0.0.1:${port}/v1/stream`, START, {
      state: (state) => scene.states.push(state),
      event: (event) => scene.events.push(event),
      closed: (closed) => (scene.closed = closed),
    });
    await scene.until(() => scene.states.includes('open'), 'it opens');
    return scene;
  }

  /** Waits in real time; the link's goes on by a little. @param {() => boolean} done @param {string} what */
  async until(done, what) {
    const late = performance.now() + PATIENCE_MS;
    while (!done()) {
      assert.ok(performance.now() < late, what);
      this.#clock.pass(1);
      await breath();
    }
  }

  /** @param {import('ws').WebSocket} socket */
  #admit(socket) {
    this.sockets += 1;
    this.#socket = socket;
    socket.on('message', (/** @type {Buffer} */ data, isBinary) => {
      if (isBinary) {
        this.heard += data.length;
        if (data.every((byte) => byte === 0)) this.zeros += data.length;
        return;
      }
      const { type, resume } = JSON.parse(String(data));
      if (type === 'start') this.say({ type: 'started', session: 's', resume_token: 't', resumed: Boolean(resume), audio_ms: 0, limits: LIMITS });
    });
  }

  /** @param {Record<string, unknown>} message */
  say(message) {
    this.#number += 1;
    this.#socket?.send(JSON.stringify({ event: this.#number, ...message }));
  }

  /** @param {'audio_paused' | 'audio_resumed'} code */
  async warn(code) {
    this.say({ type: 'warning', code, message: '' });
    await this.until(() => this.events.some((event) => event.type === 'warning' && event.code === code), code);
  }

  read() {
    this.#socket?.resume();
  }

  /** The server reads no more, and so much is said that the link's socket takes no more either. */
  async stall() {
    this.#socket?.pause();
    for (let frames = 0; ; frames += 1) {
      assert.ok(frames < 10_000, 'the socket takes all');
      this.hear();
      await breath();
      if ((this.#mine?.bufferedAmount ?? 0) < FULL_BYTES) continue;
      // What the system takes, it has taken after this.
      const before = this.#mine?.bufferedAmount;
      const settled = performance.now() + 300;
      while (performance.now() < settled) await breath();
      if (this.#mine?.bufferedAmount === before) return;
    }
  }

  hear() {
    this.link?.send(new Uint8Array(FRAME_BYTES).fill(1).buffer);
  }

  /** @param {number} seconds in which nothing is said */
  async pass(seconds) {
    for (let second = 0; second < seconds; second += 1) {
      this.#clock.pass(1000);
      await breath();
    }
  }

  /** The link notices that all is over while its clock stands still, so that it never comes back. */
  async end() {
    this.server?.clients.forEach((socket) => socket.terminate());
    this.server?.close();
    for (const over = performance.now() + 100; performance.now() < over; ) await breath();
    this.#clock.end();
  }
}

test('a server that waits for its queue keeps its socket; one that is dead does not for ever', { skip }, async () => {
  const scene = await Scene.begin();
  try {
    await scene.stall();
    await scene.pass(40);
    assert.deepEqual(scene.states, ['connecting', 'open'], 'it waits 36 s itself');
    await scene.pass(10);
    assert.ok(scene.states.includes('reconnecting'), 'and then there is nobody');
  } finally {
    await scene.end();
  }
});

test('while the server has paused the audio nothing counts as dead for 100 s, and then it does; when it reads on the time begins anew', { skip }, async () => {
  const scene = await Scene.begin();
  try {
    await scene.warn('audio_paused');
    await scene.stall();
    await scene.pass(95);
    await scene.warn('audio_resumed');
    await scene.pass(40);
    assert.deepEqual(scene.states, ['connecting', 'open']);
    await scene.pass(10);
    assert.ok(scene.states.includes('reconnecting'));
    await scene.until(() => scene.sockets === 2, 'it comes back');
    await scene.warn('audio_paused');
    await scene.stall();
    await scene.pass(110);
    await scene.until(() => scene.sockets === 3, 'a paused server is not waited for without an end');
  } finally {
    await scene.end();
  }
});

test('a socket that stood still is left once the network is back, and one that did not is kept', { skip }, async () => {
  const scene = await Scene.begin();
  try {
    await scene.pass(20);
    scene.link?.hurry();
    assert.deepEqual(scene.states, ['connecting', 'open']);
    await scene.stall();
    await scene.pass(12);
    scene.link?.hurry();
    assert.ok(scene.states.includes('reconnecting'));
  } finally {
    await scene.end();
  }
});

test('a pause longer than audio is kept ends no session: what is lost is told as one gap, and times stay right', { skip }, async () => {
  const scene = await Scene.begin();
  try {
    await scene.warn('audio_paused');
    await scene.stall();
    const before = scene.heard;
    for (let frame = 0; frame < 2500; frame += 1) scene.hear();
    assert.equal(scene.closed, null, 'it is not the connection that is slow');
    scene.read();
    await scene.warn('audio_resumed');
    const gaps = () => scene.events.filter((event) => event.type === 'gap');
    await scene.until(() => gaps().length > 0 && scene.link?.waitingMs === 0, 'all is sent');
    scene.hear();
    await scene.until(() => scene.link?.waitingMs === 0, 'the last frame');
    let last = -1;
    await scene.until(() => {
      const still = last === scene.heard;
      last = scene.heard;
      return still && scene.heard % FRAME_BYTES === 0;
    }, 'all arrives');
    const lostMs = gaps().reduce((sum, gap) => sum + (gap.type === 'gap' ? gap.to_ms - gap.from_ms : 0), 0);
    assert.equal(gaps().length, 1);
    assert.ok(before === 0 && lostMs >= 90_000 && lostMs < 110_000, String(lostMs));
    assert.ok(Math.abs(scene.zeros / 192 - lostMs) <= 1, 'as much silence as was lost');
    assert.equal(scene.closed, null);
    assert.equal(scene.sockets, 1);
  } finally {
    await scene.end();
  }
});

test('a stop in a pause waits for the server to read on', { skip }, async () => {
  const scene = await Scene.begin();
  try {
    await scene.warn('audio_paused');
    scene.link?.stop();
    await scene.pass(100);
    assert.equal(scene.closed, null);
    await scene.warn('audio_resumed');
    await scene.pass(50);
    assert.equal(/** @type {Closed | null} */ (scene.closed)?.cause, 'silent');
  } finally {
    await scene.end();
  }
});

test('a socket that takes a little each time does not stand still, though as much waits for it as before', () => {
  const standstill = new Standstill();
  for (let now = 0; now < 600_000; now += 1000) assert.equal(standstill.look(134_400, true, now), false);
  assert.equal(standstill.look(134_400, false, 640_000), false);
  assert.equal(standstill.look(134_400, false, 645_000), true);
  standstill.over();
  assert.equal(standstill.look(134_400, false, 700_000), false, 'it took all in between');
});
