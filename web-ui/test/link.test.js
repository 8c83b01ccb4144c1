/** The link against a real WebSocket server: the stub of dev/. Needs `npm ci`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

/** @import { Closed } from '../link.js' */
/** @import { ServerEvent, StartMessage } from '../protocol.js' */

const ws = await import('ws').catch(() => null);
const skip = ws ? false : 'the packages are not there: npm ci';
if (ws) Object.assign(globalThis, { WebSocket: ws.WebSocket });
const { Link } = await import('../link.js');

/** @type {StartMessage} */
const START = { type: 'start', audio: { encoding: 'pcm_s16le', sample_rate: 16000, channels: 1 }, source: 'en', targets: ['es'] };

/** @param {object} options of the stub @param {(link: InstanceType<typeof Link>, event: ServerEvent, stub: any) => void} react */
async function session(options, react) {
  const { serve } = await import('../dev/stub-server.mjs');
  const stub = await serve({ wordMs: 5, ...options });
  /** @type {string[]} */
  const states = [];
  /** @type {ServerEvent[]} */
  const events = [];
  /** @type {Closed} */
  const closed = await new Promise((done) => {
    const link = new Link(stub.url.replace('http', 'ws') + '/v1/stream', START, {
      state: (state) => states.push(state),
      event: (event) => {
        events.push(event);
        react(link, event, stub);
      },
      closed: done,
    });
    link.send(new ArrayBuffer(3200));
    link.send(new ArrayBuffer(1600));
  });
  stub.server.closeAllConnections();
  await new Promise((done) => stub.server.close(done));
  return { states, events, closed, received: stub.received };
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

test('a broken connection is told as lost', { skip }, async () => {
  const { closed } = await session({}, (_link, event, stub) => {
    if (event.type === 'caption') stub.drop();
  });
  assert.deepEqual([closed.cause, closed.code], ['lost', 1006]);
});

for (const [refuse, cause] of /** @type {const} */ ([[401, 'unauthorized'], [403, 'forbidden'], [503, 'overloaded'], [426, 'refused']])) {
  test(`a handshake refused with ${refuse} is told as ${cause}`, { skip }, async () => {
    const { closed } = await session({ refuse }, () => {});
    assert.equal(closed.cause, cause);
  });
}

test('nobody there is told as unreachable', { skip }, async () => {
  /** @type {Closed} */
  const closed = await new Promise((done) => {
    new Link('ws://127.0.0.1:1/v1/stream', START, { state: () => {}, event: () => {}, closed: done });
  });
  assert.equal(closed.cause, 'unreachable');
});
