/** The link against a real WebSocket server: the stub of dev/. Needs `npm ci`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

/** @import { Closed, Door } from '../page/link/link.js' */
/** @import { ServerEvent, StartMessage } from '../page/link/protocol.js' */

const ws = await import('ws').catch(() => null);
const skip = ws ? false : 'the packages are not there: npm ci';
if (ws) Object.assign(globalThis, { WebSocket: ws.WebSocket });
const { Link } = await import('../page/link/link.js');
const { SignIn } = await import('../page/people/sign-in.js');

/** @type {StartMessage} */
const START = { type: 'start', audio: { encoding: 'pcm_s16le', sample_rate: 16000, channels: 1 }, source: 'en', targets: ['es'] };

/**
 * One link from its beginning to its end. `react` is told each event, with what can be done about it.
 * @param {object} options of the stub
 * @param {(link: InstanceType<typeof Link>, event: ServerEvent, stub: any) => void} react
 * @param {(url: string) => Promise<Door | undefined>} [door]
 * @param {number} [stopMs] how long the server may take after `stop`
 */
async function session(options, react, door = async () => undefined, stopMs = undefined) {
  const { serve } = await import('../dev/stub-server.mjs');
  const stub = await serve({ wordMs: 5, ...options });
  const shown = await door(stub.url);
  /** @type {string[]} */
  const states = [];
  /** @type {ServerEvent[]} */
  const events = [];
  /** @type {number[]} */
  const anew = [];
  /** @type {Closed} */
  const closed = await new Promise((done) => {
    const listener = {
      state: (/** @type {string} */ state) => states.push(state),
      event: (/** @type {ServerEvent} */ event) => {
        events.push(event);
        react(link, event, stub);
      },
      anew: (/** @type {number} */ fromMs) => anew.push(fromMs),
      closed: done,
    };
    const link = new Link(stub.url.replace('http', 'ws') + '/v1/stream', START, listener, shown, stopMs);
    link.send(new ArrayBuffer(3200));
    link.send(new ArrayBuffer(1600));
  });
  stub.server.closeAllConnections();
  await new Promise((done) => stub.server.close(done));
  return { states, events, closed, anew, received: stub.received };
}

test('audio from before the socket was open is sent after start, and stop brings all that is owed', { skip }, async () => {
  const { states, events, closed, received } = await session({}, (link, event) => {
    if (event.type === 'translation' && event.utterance === 4 && event.final) {
      link.finalize();
      link.update({ source: 'en', targets: ['es', 'ar'] });
      link.stop();
      link.send(new ArrayBuffer(3200));
    }
  });
  assert.equal(closed.cause, 'stopped');
  assert.deepEqual(states, ['connecting', 'open', 'stopping', 'closed']);
  assert.deepEqual(received.start, START);
  assert.deepEqual(received.messages.map(({ type }) => type), ['start', 'finalize', 'update', 'stop']);
  assert.equal(received.bytes, 4800);
  assert.equal(events.at(-1)?.type, 'ended');
});

test('a session survives cuts: all events once and in order, all audio once', { skip }, async () => {
  let sent = 4800;
  let cuts = 0;
  let stopped = false;
  let whole = false;
  const { states, events, closed, received } = await session({}, (link, event, stub) => {
    if (!stopped) {
      link.send(new ArrayBuffer(640));
      sent += 640;
    }
    // One cut a socket: what it still brings after that is of the past.
    if (event.type === 'started') whole = true;
    else if (whole && event.event % 13 === 0 && cuts < 4) {
      whole = false;
      cuts += 1;
      if (cuts === 2) stub.close(1001);
      else stub.drop();
    }
    if (event.type === 'translation' && event.utterance === 4 && event.final) {
      stopped = true;
      link.stop();
    }
  });
  assert.equal(closed.cause, 'stopped');
  assert.equal(cuts, 4);
  assert.equal(received.sockets, 5);
  assert.deepEqual(states.filter((state) => state === 'reconnecting').length, 4);
  // A `started` of a session that goes on is told when it comes; what was missed follows it.
  const numbers = events.filter(({ type }) => type !== 'started').map(({ event }) => event);
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
  assert.equal(new Set(numbers).size, numbers.length);
  const started = events.filter(({ type }) => type === 'started').map(({ event }) => event);
  assert.equal(numbers.length + started.length, events.at(-1)?.event, 'none is missing');
  assert.equal(received.bytes, sent, 'each byte arrived once');
  assert.equal(events.at(-1)?.type, 'ended');
});

test('stop while there is no connection is said once there is', { skip }, async () => {
  let cut = false;
  const { states, closed, received } = await session({}, (link, event, stub) => {
    if (event.type !== 'caption' || cut) return;
    cut = true;
    stub.drop();
    setTimeout(() => link.stop(), 20);
  });
  assert.equal(closed.cause, 'stopped');
  assert.equal(states.at(-2), 'stopping');
  assert.equal(received.messages.at(-1).type, 'stop');
});

test('a stop in an outage waits for the connection, and only then for what is owed', { skip }, async () => {
  let cut = false;
  const { closed, received } = await session({}, (link, event, stub) => {
    if (event.type !== 'caption' || cut) return;
    cut = true;
    stub.how.refuse = 503;
    stub.drop();
    // Longer than the server may take to send what it owes.
    setTimeout(() => link.stop(), 20);
    setTimeout(() => (stub.how.refuse = 0), 2500);
  }, undefined, 2000);
  assert.equal(closed.cause, 'stopped');
  assert.equal(received.messages.at(-1).type, 'stop');
});

test('a stop in an outage gives up when the session is kept no longer', { skip }, async () => {
  let cut = false;
  const { closed } = await session({ windowMs: 300 }, (link, event, stub) => {
    if (event.type !== 'caption' || cut) return;
    cut = true;
    stub.how.refuse = 503;
    stub.drop();
    setTimeout(() => link.stop(), 20);
  });
  assert.equal(closed.cause, 'lost');
});

test('languages chosen between start and started are told once the session is open', { skip }, async () => {
  assert.ok(ws);
  const server = new ws.WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'subtide.v1' });
  await new Promise((done) => server.once('listening', done));
  /** @type {any[]} */
  const said = [];
  const limits = { max_message_bytes: 65536, max_targets: 4, max_utterance_ms: 20000, idle_timeout_ms: 600000, resume_window_ms: 0 };
  /** @type {Closed} */
  const closed = await new Promise((done) => {
    server.on('connection', (socket) => socket.on('message', (data, isBinary) => {
      if (isBinary) return;
      const message = JSON.parse(String(data));
      said.push(message);
      if (message.type === 'start') {
        link.update({ source: 'en', targets: ['fr'] });
        socket.send(JSON.stringify({ event: 1, type: 'started', session: 's', resume_token: 't', resumed: false, audio_ms: 0, limits }));
      }
      if (message.type === 'stop') {
        socket.send(JSON.stringify({ event: 2, type: 'ended', reason: 'stopped', audio_ms: 0, utterances: 0 }));
        socket.close(1000);
      }
    }));
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    const event = (/** @type {ServerEvent} */ { type }) => type === 'started' && link.stop();
    const link = new Link(`ws://127.0.0.1:${port}/v1/stream`, START, { state: () => {}, event, closed: done });
  });
  server.close();
  assert.equal(closed.cause, 'stopped');
  assert.deepEqual(said.map(({ type, targets }) => [type, targets?.[0]]), [['start', 'es'], ['update', 'fr'], ['stop', undefined]]);
});

test('a session that is gone begins anew with the sound that is left', { skip }, async () => {
  let begun = 0;
  const { events, closed, anew, received } = await session({ forget: true }, (link, event, stub) => {
    if (event.type === 'started') begun += 1;
    // Utterance 1 was acknowledged with its 150 ms; what came after is left.
    if (event.type === 'ack' && begun === 1) {
      link.send(new ArrayBuffer(3200));
      stub.drop();
    }
    if (event.type === 'caption' && begun === 2) link.stop();
  });
  assert.equal(closed.cause, 'stopped');
  assert.deepEqual(anew, [150]);
  assert.equal(new Set(events.filter((event) => event.type === 'started').map(({ session }) => session)).size, 2);
  assert.equal(received.start.resume, undefined);
});

test('where the session is not kept, a broken connection is told as lost', { skip }, async () => {
  const { closed } = await session({ windowMs: 0 }, (_link, event, stub) => {
    if (event.type === 'caption') stub.drop();
  });
  assert.deepEqual([closed.cause, closed.code], ['lost', 1006]);
});

test('it gives up when the session is kept no longer', { skip }, async () => {
  const { closed, states } = await session({ windowMs: 300 }, (_link, event, stub) => {
    if (event.type !== 'caption') return;
    stub.how.refuse = 503;
    stub.drop();
  });
  assert.equal(closed.cause, 'lost');
  assert.deepEqual(states, ['connecting', 'open', 'reconnecting', 'closed']);
});

test('who took the session over keeps it', { skip }, async () => {
  const { closed, received } = await session({}, (_link, event, stub) => {
    if (event.type === 'caption') stub.close(4409);
  });
  assert.equal(closed.cause, 'replaced');
  assert.equal(received.sockets, 1);
});

for (const [refuse, cause] of /** @type {const} */ ([[401, 'unauthorized'], [403, 'forbidden'], [429, 'limited'], [503, 'overloaded'], [426, 'refused']])) {
  test(`a handshake refused with ${refuse} is told as ${cause}`, { skip }, async () => {
    const { closed } = await session({ refuse, retryAfter: 7 }, () => {});
    assert.deepEqual([closed.cause, closed.retryAfterMs], [cause, 7000]);
  });
}

test('a quota that is used up is told as that', { skip }, async () => {
  const { closed } = await session({ refuse: 429, refuseCode: 'quota_exceeded', retryAfter: 3600 }, () => {});
  assert.deepEqual([closed.cause, closed.retryAfterMs], ['quota', 3_600_000]);
});

test('nobody there is told as unreachable', { skip }, async () => {
  /** @type {Closed} */
  const closed = await new Promise((done) => {
    new Link('ws://127.0.0.1:1/v1/stream', START, { state: () => {}, event: () => {}, closed: done });
  });
  assert.equal(closed.cause, 'unreachable');
});

/** Signs in as a browser would, cookie and all. @param {string} url */
async function signedIn(url) {
  let cookie = '';
  /** @type {typeof fetch} */
  const browser = async (path, how = {}) => {
    const answer = await fetch(new URL(String(path), url), { ...how, redirect: 'manual', headers: { ...how.headers, cookie } });
    cookie = answer.headers.get('set-cookie')?.split(';')[0] ?? cookie;
    return answer;
  };
  await browser('/auth/login?return=/');
  const signIn = new SignIn(() => {}, { fetch: browser, now: () => Date.now(), turn: (work) => work(), channel: null });
  await signIn.begin();
  return signIn;
}

test('each connection shows a ticket of its own, and a token about to end is renewed in band', { skip }, async () => {
  let cut = false;
  const { closed, received } = await session(
    { signIn: true },
    (link, event, stub) => {
      if (event.type === 'speech_ended' && !cut) {
        cut = true;
        stub.drop();
      }
      if (event.type === 'speech_ended' && event.utterance === 2) stub.say({ type: 'warning', code: 'token_expiring', message: 'soon' });
      if (event.type === 'speech_ended' && event.utterance === 4) link.stop();
    },
    signedIn,
  );
  assert.equal(closed.cause, 'stopped');
  assert.equal(received.sockets, 2);
  assert.equal(received.auth.length, 1);
});

test('a sign-in that has ended is told as that, and nothing is tried again', { skip }, async () => {
  const { closed } = await session(
    { signIn: true },
    (_link, event, stub) => {
      if (event.type !== 'caption') return;
      stub.door.end();
      stub.drop();
    },
    signedIn,
  );
  assert.equal(closed.cause, 'unauthorized');
});
