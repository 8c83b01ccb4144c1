/** What is kept for a broken connection, and when it is tried again: no sockets, no clock. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kept } from '../page/link/kept.js';
import { Retry, sequelOf } from '../page/link/retry.js';

/** A byte pair a millisecond. */
const FORMAT = { sample_rate: 1000, channels: /** @type {const} */ (1) };
/** @param {number} bytes @param {number} value */
const pcm = (bytes, value) => new Uint8Array(bytes).fill(value).buffer;

/** All that a socket would be given: bytes of PCM, or the type of a message. @param {Kept} kept */
function given(kept) {
  const all = [];
  for (let item = kept.take(); item; item = kept.take()) all.push(item instanceof ArrayBuffer ? [...new Uint8Array(item)] : item.type);
  return all;
}

test('what is not acknowledged is said again from the very sample, and messages at their place', () => {
  const kept = new Kept(FORMAT);
  kept.hear(pcm(200, 1));
  kept.say({ type: 'finalize' });
  kept.hear(pcm(200, 2));
  assert.equal(given(kept).length, 3);
  kept.release(100);
  assert.equal(kept.rewind(150), 0);
  assert.deepEqual(given(kept), [Array(100).fill(2)]);
  kept.say({ type: 'stop' });
  kept.rewind(200);
  assert.deepEqual(given(kept), ['stop'], 'all audio is safe, and `stop` may not have been heard');
});

test('lost audio becomes silence, so that times stay right', () => {
  const kept = new Kept(FORMAT);
  kept.hear(pcm(200, 1));
  kept.hear(pcm(100, 2));
  given(kept);
  kept.release(100);
  assert.equal(kept.rewind(40), 60);
  assert.deepEqual(given(kept), [Array(120).fill(0), Array(100).fill(2)]);
  assert.deepEqual(kept.lost(), { from_ms: 40, to_ms: 100 }, 'and it is told');
  assert.equal(kept.lost(), null, 'once');
  kept.rewind(40);
  given(kept);
  assert.equal(kept.lost(), null, 'also when it is said again');
});

test('audio that is given up leaves silence in its place, and what was said beside it stays', () => {
  const kept = new Kept(FORMAT);
  kept.say({ type: 'update', source: 'es' });
  for (let second = 0; second < 170; second += 1) kept.hear(pcm(2000, 1));
  const all = given(kept);
  assert.equal(all[0], 'update');
  assert.equal(all.flat().length - 1, 340_000, 'no time is missing');
  assert.deepEqual(kept.lost(), { from_ms: 0, to_ms: 21_000 });
  for (let second = 0; second < 100; second += 1) kept.hear(pcm(2000, 1));
  given(kept);
  assert.equal(kept.lost(), null, 'what a socket has taken is not lost by going here');
  kept.rewind(21_000);
  given(kept);
  assert.deepEqual(kept.lost(), { from_ms: 21_000, to_ms: 121_000 }, 'but where that socket breaks');
});

test('a new session begins with what is left', () => {
  const kept = new Kept(FORMAT);
  kept.hear(pcm(200, 1));
  kept.hear(pcm(100, 2));
  given(kept);
  kept.release(100);
  assert.equal(kept.rebase(), 100);
  kept.hear(pcm(10, 3));
  assert.deepEqual(given(kept), [Array(100).fill(2), Array(10).fill(3)]);
  assert.equal(kept.waitingMs, 0);
});

test('two minutes and more are kept while there is no connection, and the oldest goes after that', () => {
  const kept = new Kept(FORMAT);
  for (let second = 0; second < 149; second += 1) kept.hear(pcm(2000, 1));
  assert.equal(kept.waitingMs, 149_000);
  for (let second = 0; second < 60; second += 1) kept.hear(pcm(2000, 2));
  assert.ok(kept.waitingMs >= 148_000 && kept.waitingMs <= 150_000, String(kept.waitingMs));
  const lost = 209_000 - kept.waitingMs;
  assert.equal(kept.rewind(0), lost, 'what went is silence');
});

test('only what another connection can mend is tried again', () => {
  for (const code of [1001, 1006, 1011, 1012, 1013]) assert.equal(sequelOf(code, null), 'again', String(code));
  for (const code of [1000, 1008, 1009, 4400, 4403, 4408, 4409, 4429, 4440]) assert.equal(sequelOf(code, null), 'end', String(code));
  assert.equal(sequelOf(4410, null), 'anew');
  assert.equal(sequelOf(4401, null), 'renew');
  /** @param {import('../page/link/protocol.js').ErrorCode} code @param {boolean} retryable */
  const error = (code, retryable) => sequelOf(0, { type: 'error', code, message: '', retryable, trace_id: '' });
  assert.equal(error('unavailable', true), 'again');
  assert.equal(error('unavailable', false), 'end');
  assert.equal(error('quota_exceeded', true), 'end');
  assert.equal(error('replaced', false), 'end');
  assert.equal(error('auth_error', false), 'renew');
  assert.equal(error('resume_expired', false), 'anew');
});

test('waits grow to five seconds, honour the server, and end with the window', () => {
  const retry = new Retry();
  retry.connected(120_000);
  const waits = [0, 1, 2, 3, 4, 5, 6].map(() => retry.wait(0, 1, 0));
  assert.deepEqual(waits, [200, 400, 800, 1600, 3200, 5000, 5000]);
  assert.equal(retry.wait(0, 0.5, 0), 2500);
  assert.equal(retry.wait(1000, 0, 9000), 9000);
  assert.equal(retry.wait(119_000, 1, 0), null);
  assert.equal(retry.wait(50_000, 0, 80_000), null, 'it will be gone by then');
  retry.connected(120_000);
  retry.progressed();
  assert.equal(retry.wait(500_000, 1, 0), 200);
  const never = new Retry();
  never.connected(0);
  assert.equal(never.wait(0, 0.5, 0), null);
});
