// Whatever order the events of a session come in and however often they are repeated, the page draws the same lines: over sessions
// that are drawn by lot. `REORDERING_CASES=10000 node --test test/reordering.test.js` takes more of them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Captions } from '../page/captions/captions.js';

/** @import { ServerEvent } from '../page/link/protocol.js' */

const cases = Number(process.env['REORDERING_CASES'] ?? 400);
const limits = { max_message_bytes: 65536, max_targets: 16, max_utterance_ms: 20000, idle_timeout_ms: 600000 };

/** Whole numbers below a limit that look random and are the same each time (mulberry32). @param {number} seed */
function chance(seed) {
  let state = seed >>> 0;
  return (/** @type {number} */ below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** @param {number} from @param {number} to */
const words = (from, to) => Array.from({ length: to - from }, (_, n) => ` w${from + n}`).join('');

/** A session as a gateway tells it. @param {(below: number) => number} draw @returns {ServerEvent[]} */
function session(draw) {
  /** @type {object[]} */
  const told = [{ type: 'started', session: 's', resume_token: 'r', limits }];
  const targets = ['es', 'ar'].slice(0, draw(3));
  let at = 0;
  for (let utterance = 1; utterance <= 1 + draw(4); utterance += 1) {
    const start_ms = at + draw(500);
    const length = 1 + draw(8);
    const end_ms = start_ms + length * 300;
    told.push({ type: 'speech_started', utterance, start_ms });
    let committed = 0;
    let revision = 0;
    for (let heard = 1; heard <= length; heard += 1 + draw(3)) {
      revision += 1 + draw(2);
      committed = Math.max(committed, heard - 1 - draw(2));
      const text = { utterance, revision, committed: words(0, committed), tail: words(committed, heard), final: false };
      told.push({ type: 'caption', start_ms, end_ms: start_ms + heard * 300, language: 'en', ...text });
      for (const target of targets) if (draw(2)) told.push({ type: 'translation', target, ...text });
    }
    told.push({ type: 'speech_ended', utterance, end_ms });
    const final = { utterance, revision: revision + 1, committed: words(0, length), tail: '', final: true };
    if (draw(6)) {
      told.push({ type: 'caption', start_ms, end_ms, language: 'en', ...final });
      for (const target of targets) told.push({ type: 'translation', target, ...final });
    } else {
      told.push({ type: 'gap', utterance, from_ms: start_ms, to_ms: end_ms, reason: 'failed' });
    }
    if (draw(3) === 0) told.push({ type: 'lag', behind_ms: draw(2) * 4000, update_interval_ms: 450 });
    at = end_ms;
  }
  return /** @type {ServerEvent[]} */ (told.map((message, n) => ({ event: n + 1, ...message })));
}

/** `started` stays first; the rest is repeated one to three times, and shuffled. @param {ServerEvent[]} events @param {(below: number) => number} draw */
function disturbed([started, ...rest], draw) {
  const many = rest.flatMap((event) => Array.from({ length: 1 + draw(3) }, () => event));
  for (let i = many.length - 1; i > 0; i -= 1) {
    const j = draw(i + 1);
    [many[i], many[j]] = [/** @type {ServerEvent} */ (many[j]), /** @type {ServerEvent} */ (many[i])];
  }
  return started ? [started, ...many] : many;
}

/** @param {ServerEvent[]} events */
function drawn(events) {
  const captions = new Captions();
  captions.expect(['es', 'ar']);
  // Whether `entries` was asked between two events must not matter either.
  events.forEach((event, n) => {
    captions.apply(event);
    if (n % 3 === 0) captions.entries();
  });
  return { lines: captions.lines(), behindMs: captions.behindMs, acked: captions.ackedMs, last: captions.lastEvent };
}

test(`${cases} sessions draw the same lines in any order and with any repetition`, () => {
  for (let seed = 1; seed <= cases; seed += 1) {
    const draw = chance(seed);
    const events = session(draw);
    const straight = drawn(events);
    assert.ok(straight.lines.length > 0);
    for (let n = 0; n < 4; n += 1) assert.deepEqual(drawn(disturbed(events, draw)), straight, `seed ${seed}`);
  }
});
