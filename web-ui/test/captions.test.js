import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Captions } from '../page/captions/captions.js';

/** @import { ServerEvent } from '../page/link/protocol.js' */
/** @import { Line } from '../page/captions/lines.js' */

const folder = new URL('../vectors/', import.meta.url);
const vectors = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => ({ name, ...JSON.parse(readFileSync(new URL(name, folder), 'utf8')) }));

/** A line as the vectors tell it. @param {Line} line */
function told(line) {
  if (line.kind === 'gap') return { gap: { from_ms: line.startMs, to_ms: line.endMs, reason: line.reason } };
  const { utterance, startMs: start_ms, endMs: end_ms, language, committed, tail, final } = line;
  const translations = line.translations
    .filter(({ waiting }) => !waiting)
    .map(({ target, committed, tail, final }) => ({ target, committed, tail, final }));
  return { utterance, start_ms, end_ms, language, committed, tail, final, translations };
}

/** @param {ServerEvent[]} events @param {string[]} [targets] */
function drawn(events, targets = []) {
  const captions = new Captions();
  captions.expect(targets);
  for (const event of events) captions.apply(event);
  return captions.lines();
}

/** Numbers that look random and are the same each time. @param {number} seed */
function randoms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** `started` stays first; the rest is repeated one to three times and shuffled. @param {ServerEvent[]} events @param {number} seed */
function disturbed([started, ...rest], seed) {
  const random = randoms(seed);
  const many = rest.flatMap((event) => Array.from({ length: 1 + Math.floor(random() * 3) }, () => event));
  for (let i = many.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [many[i], many[j]] = [/** @type {ServerEvent} */ (many[j]), /** @type {ServerEvent} */ (many[i])];
  }
  return started ? [started, ...many] : many;
}

test('there are vectors', () => assert.ok(vectors.length >= 7));

for (const { name, about, targets, events, lines } of vectors) {
  test(`${name}: ${about}`, () => assert.deepEqual(drawn(events, targets).map(told), lines));

  test(`${name}: any order and any repetition draw the same lines`, () => {
    const straight = drawn(events, targets);
    for (let seed = 1; seed <= 200; seed += 1) {
      assert.deepEqual(drawn(disturbed(events, seed), targets), straight, `seed ${seed}`);
    }
  });
}

const limits = { max_message_bytes: 65536, max_targets: 16, max_utterance_ms: 20000, idle_timeout_ms: 600000 };
/** @param {string} session @param {number} [event] @returns {ServerEvent} */
const started = (session, event = 1) => ({ event, type: 'started', session, resume_token: 'r', limits });
/** @param {number} event @param {number} revision @param {string} committed @param {string} tail @returns {ServerEvent} */
const partial = (event, revision, committed, tail) => ({
  event, type: 'caption', utterance: 1, revision, start_ms: 0, end_ms: 1000 * revision, language: 'en', committed, tail, final: false,
});

test('committed text only grows while partials come in order', () => {
  const captions = new Captions();
  captions.apply(started('a'));
  let before = '';
  for (const [revision, committed] of ['', 'the', 'the tide', 'the tide comes'].entries()) {
    captions.apply(partial(revision + 2, revision + 1, committed, ' x'));
    const [line] = captions.lines();
    assert.ok(line?.kind === 'speech' && line.committed.startsWith(before));
    before = line.committed;
  }
  assert.equal(before, 'the tide comes');
});

test('an utterance just begun is drawn as waiting, with a row for every target asked for', () => {
  const [line] = drawn([started('a'), { event: 2, type: 'speech_started', utterance: 1, start_ms: 300 }], ['es', 'ar']);
  assert.ok(line?.kind === 'speech');
  assert.equal(line.live, true);
  assert.deepEqual(line.translations.map(({ target, waiting }) => [target, waiting]), [['ar', true], ['es', true]]);
});

test('a new session keeps the old lines and begins its own', () => {
  const lines = drawn([started('a'), partial(2, 1, 'old', ''), started('b'), partial(2, 1, 'new', ''), started('b'), partial(3, 2, 'newer', '')]);
  assert.deepEqual(lines.map((line) => line.kind === 'speech' && [line.run, line.committed, line.live]), [[0, 'old', false], [1, 'newer', true]]);
});

test('after the link is gone nothing waits any more, and what was heard stays', () => {
  const captions = new Captions();
  captions.expect(['es']);
  captions.apply(started('a'));
  captions.apply(partial(2, 1, 'half a', ' sent'));
  captions.apply({ event: 3, type: 'speech_started', utterance: 2, start_ms: 5000 });
  captions.close();
  assert.deepEqual(captions.lines().map(told), [
    { utterance: 1, start_ms: 0, end_ms: 1000, language: 'en', committed: 'half a', tail: ' sent', final: false, translations: [] },
  ]);
});

test('errors, warnings and a server going away are told once; a stop that was asked for is not', () => {
  const captions = new Captions();
  captions.apply(started('a'));
  /** @type {ServerEvent} */
  const warning = { event: 2, type: 'warning', code: 'no_model', message: 'no model translates en to eo' };
  captions.apply(warning);
  captions.apply(warning);
  captions.apply({ event: 3, type: 'error', code: 'overloaded', message: 'full', retryable: true, retry_after_ms: 2000, trace_id: 't1' });
  captions.apply({ event: 4, type: 'ended', reason: 'stopped', audio_ms: 1, utterances: 0 });
  captions.apply({ event: 5, type: 'ended', reason: 'draining', audio_ms: 1, utterances: 0 });
  assert.deepEqual(captions.notices().map(({ kind, code, retryAfterMs }) => [kind, code, retryAfterMs]), [
    ['warning', 'no_model', 0],
    ['error', 'overloaded', 2000],
    ['ended', 'draining', 0],
  ]);
});

test('that the server reads no audio is told while it is so, whatever the order and however often', () => {
  const paused = (/** @type {number} */ event) => /** @type {ServerEvent} */ ({ event, type: 'warning', code: 'audio_paused', message: '' });
  const resumed = (/** @type {number} */ event) => /** @type {ServerEvent} */ ({ event, type: 'warning', code: 'audio_resumed', message: '' });
  const captions = new Captions();
  const codes = () => captions.notices().map(({ code }) => code);
  captions.apply(started('a'));
  captions.apply(paused(2));
  assert.deepEqual(codes(), ['audio_paused']);
  captions.apply(resumed(3));
  captions.apply(paused(2));
  assert.deepEqual(codes(), [], 'it is over');
  captions.apply(resumed(6));
  captions.apply(paused(5));
  assert.deepEqual(codes(), []);
  captions.apply(paused(7));
  captions.apply({ event: 8, type: 'speech_started', utterance: 1, start_ms: 0 });
  assert.deepEqual(codes(), [], 'it reads on, though another connection said so');
  captions.apply(paused(9));
  assert.deepEqual(codes(), ['audio_paused']);
  captions.close();
  assert.deepEqual(codes(), [], 'nothing waits any more');
});

test('the newest lag counts, and zero clears it', () => {
  const captions = new Captions();
  captions.apply(started('a'));
  captions.apply({ event: 3, type: 'lag', behind_ms: 4000, update_interval_ms: 450 });
  captions.apply({ event: 2, type: 'lag', behind_ms: 9000, update_interval_ms: 450 });
  assert.equal(captions.behindMs, 4000);
  captions.apply({ event: 4, type: 'lag', behind_ms: 0, update_interval_ms: 450 });
  assert.equal(captions.behindMs, 0);
});

test('a type from a newer server changes nothing', () => {
  const captions = new Captions();
  captions.apply(started('a'));
  const unknown = /** @type {ServerEvent} */ (/** @type {unknown} */ ({ event: 2, type: 'applause', loud: true }));
  assert.equal(captions.apply(unknown), false);
  assert.deepEqual(captions.lines(), []);
  assert.equal(captions.lastEvent, 2);
});

test('lines are bounded, and the oldest go', () => {
  const captions = new Captions();
  captions.apply(started('a'));
  for (let utterance = 1; utterance <= 2100; utterance += 1) {
    captions.apply({ event: utterance + 1, type: 'caption', utterance, revision: 1, start_ms: utterance, end_ms: utterance, language: 'en', committed: 'x', tail: '', final: true });
  }
  const lines = captions.lines();
  assert.equal(lines.length, 2000);
  assert.equal(captions.forgotten, 100);
  assert.equal(lines[0]?.kind === 'speech' && lines[0].utterance, 101);
});
