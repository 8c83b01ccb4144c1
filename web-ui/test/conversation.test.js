import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Conversation } from '../page/captions/conversation.js';
import { SoundClock } from '../page/captions/sound-clock.js';

/** @import { ServerEvent } from '../page/link/protocol.js' */
/** @import { Channel } from '../page/host/host.js' */
/** @import { SpokenLine } from '../page/captions/conversation.js' */

/** @typedef {{ channel: Channel, at?: number, open?: boolean, heard_ms?: number, paused?: boolean, break_off_ms?: number, event?: ServerEvent }} Step */

const folder = new URL('../vectors/conversation/', import.meta.url);
/** @type {{ name: string, about: string, targets?: string[], steps: Step[], lines: object[] }[]} */
const vectors = readdirSync(folder).map((name) => ({ name, ...JSON.parse(readFileSync(new URL(name, folder), 'utf8')) }));

/** A line as the vectors tell it. @param {SpokenLine} line */
function told(line) {
  const place = { channel: line.channel, at: line.atMs };
  if (line.kind === 'gap') return { ...place, gap: { from_ms: line.startMs, to_ms: line.endMs, reason: line.reason } };
  const { utterance, startMs: start_ms, endMs: end_ms, language, committed, tail, final } = line;
  const translations = line.translations.filter(({ waiting }) => !waiting).map(({ waiting: _, ...rest }) => rest);
  return { ...place, utterance, start_ms, end_ms, language, committed, tail, final, translations };
}

/** @param {Conversation} conversation @param {Step} step */
function take(conversation, { channel, at = 0, open, heard_ms, paused, break_off_ms, event }) {
  if (open) conversation.open(channel, at);
  if (heard_ms !== undefined) conversation.heard(channel, at, heard_ms);
  if (paused) conversation.paused(channel);
  if (break_off_ms !== undefined) conversation.breakOff(channel, break_off_ms);
  if (event) conversation.apply(channel, event);
}

/** @param {Step[]} steps @param {string[]} [targets] */
function drawn(steps, targets = []) {
  const conversation = new Conversation();
  conversation.expect(targets);
  conversation.begin();
  for (const step of steps) take(conversation, step);
  return conversation.lines();
}

/** Keys of the lines that have words. @param {SpokenLine[]} lines */
const worded = (lines) => lines.filter((line) => line.kind === 'gap' || line.committed + line.tail !== '').map(({ key }) => key);

test('there are vectors', () => assert.ok(vectors.length >= 2));

for (const { name, about, targets, steps, lines } of vectors) {
  test(`${name}: ${about}`, () => assert.deepEqual(drawn(steps, targets).map(told), lines));

  test(`${name}: a line never changes its place once it has words, however often it is asked for`, () => {
    const conversation = new Conversation();
    /** @type {string[]} */
    let before = [];
    for (const step of steps) {
      take(conversation, step);
      const now = worded(conversation.lines());
      assert.deepEqual(now.filter((key) => before.includes(key)), before);
      assert.deepEqual(worded(conversation.lines()), now);
      before = now;
    }
    assert.deepEqual(conversation.lines().map(told), lines, 'asking changed nothing');
  });
}

test('which channel tells first makes no difference', () => {
  const vector = vectors.find(({ name }) => name === 'two-channels.json');
  assert.ok(vector);
  const sound = vector.steps.filter(({ event }) => !event || event.type === 'started');
  const events = vector.steps.filter(({ event }) => event && event.type !== 'started');
  const straight = drawn(vector.steps, vector.targets);
  const [me, them] = ['me', 'them'].map((each) => events.filter(({ channel }) => channel === each));
  for (const order of [[...(them ?? []), ...(me ?? [])], [...(me ?? []), ...(them ?? [])], events.toReversed(), [...events, ...events]]) {
    assert.deepEqual(drawn([...sound, ...order], vector.targets), straight);
  }
});

const limits = { max_message_bytes: 65536, max_targets: 16, max_utterance_ms: 20000, idle_timeout_ms: 600000 };
/** @param {string} session @returns {ServerEvent} */
const started = (session) => ({ event: 1, type: 'started', session, resume_token: 'r', limits });
/** @param {number} event @param {number} utterance @param {number} start_ms @param {string} committed @returns {ServerEvent} */
const final = (event, utterance, start_ms, committed) => ({ event, type: 'caption', utterance, revision: 1, start_ms, end_ms: start_ms + 900, language: 'en', committed, tail: '', final: true });

test('the newest lines are the end of all of them', () => {
  const conversation = new Conversation();
  for (const [channel, at] of /** @type {const} */ ([['me', 0], ['them', 400]])) {
    conversation.open(channel, at);
    conversation.heard(channel, at + 100, 100);
    conversation.apply(channel, started(channel));
    for (let utterance = 1; utterance <= 20; utterance += 1) conversation.apply(channel, final(utterance + 1, utterance, utterance * 1000, `${channel} ${utterance}`));
  }
  assert.deepEqual(conversation.newest(7), conversation.lines().slice(-7));
  assert.deepEqual(conversation.lines().slice(0, 4).map((line) => line.kind === 'speech' && line.committed), ['me 1', 'them 1', 'me 2', 'them 2']);
  assert.deepEqual(conversation.channels, ['me', 'them']);
});

test('what did not change is the same object, so that nobody draws it again', () => {
  const conversation = new Conversation();
  conversation.open('me', 0);
  conversation.heard('me', 100, 100);
  conversation.apply('me', started('a'));
  conversation.apply('me', final(2, 1, 0, 'one'));
  const [one] = conversation.lines();
  conversation.apply('me', final(3, 2, 1000, 'two'));
  assert.equal(conversation.lines()[0], one);
  conversation.apply('me', { event: 4, type: 'translation', utterance: 1, revision: 1, target: 'es', committed: 'uno', tail: '', final: true });
  assert.notEqual(conversation.lines()[0], one);
});

test('a line that was given out stays as it was, whatever is told afterwards', () => {
  const conversation = new Conversation();
  conversation.expect(['es', 'ar']);
  conversation.open('me', 0);
  conversation.heard('me', 100, 100);
  /** @param {number} event @param {string} target @param {number} revision @returns {ServerEvent} */
  const told = (event, target, revision) => ({ event, type: 'translation', utterance: 1, revision, target, committed: `${target} ${revision}`, tail: '', final: true });
  /** @type {{ given: SpokenLine[], then: SpokenLine[] }[]} */
  const seen = [];
  for (const event of [started('a'), final(2, 1, 0, 'one'), told(3, 'es', 1), told(4, 'ar', 1), told(5, 'ar', 2), told(6, 'ar', 1), told(7, 'de', 1)]) {
    conversation.apply('me', event);
    const given = conversation.lines();
    seen.push({ given, then: structuredClone(given) });
  }
  for (const { given, then } of seen) assert.deepEqual(structuredClone(given), then);
  const [line] = conversation.lines();
  assert.deepEqual(line?.kind === 'speech' && line.translations.map(({ committed }) => committed), ['ar 2', 'de 1', 'es 1']);
});

test('asked after every event or only at the end, the lines are the same, also when the oldest have to go', () => {
  const [often, once] = [new Conversation(), new Conversation()];
  for (const conversation of [often, once]) {
    conversation.expect(['es']);
    for (const channel of /** @type {const} */ (['me', 'them'])) {
      conversation.open(channel, 0);
      conversation.heard(channel, 100, 100);
      conversation.apply(channel, started(channel));
    }
  }
  /** @param {Channel} channel @param {ServerEvent} event */
  const tell = (channel, event) => {
    once.apply(channel, event);
    often.apply(channel, event);
    if (event.event % 7 === 0) often.lines();
    else often.newest(12);
  };
  for (let utterance = 1; utterance <= 2010; utterance += 1) {
    const event = utterance * 4;
    tell('me', { event, type: 'speech_started', utterance, start_ms: utterance * 1000 });
    tell('me', final(event + 1, utterance, utterance * 1000, `me ${utterance}`));
    if (utterance % 3 === 0) tell('them', final(event + 2, utterance, utterance * 1000 - 400, `them ${utterance}`));
    if (utterance % 50 === 0) tell('them', { event: event + 3, type: 'gap', from_ms: utterance * 1000 + 100, to_ms: utterance * 1000 + 300, reason: 'failed' });
    tell('me', { event: event + 3, type: 'translation', utterance: Math.max(1, utterance - 2), revision: 1, target: 'es', committed: `yo ${utterance}`, tail: '', final: true });
  }
  assert.deepEqual(often.lines(), once.lines());
  assert.deepEqual(often.newest(30), once.lines().slice(-30));
  assert.equal(often.forgotten, 10);
});

test('one channel is told in the times of its session, and a second start goes on in time', () => {
  const conversation = new Conversation();
  conversation.begin();
  conversation.open('me', 5000);
  conversation.heard('me', 5170, 100);
  conversation.apply('me', started('a'));
  conversation.apply('me', final(2, 1, 300, 'one'));
  conversation.closeChannel('me');
  conversation.begin();
  conversation.open('me', 60_000);
  conversation.heard('me', 60_170, 100);
  conversation.apply('me', started('b'));
  conversation.apply('me', final(2, 1, 300, 'two'));
  assert.deepEqual(conversation.lines().map(({ run, startMs, endMs, atMs }) => [run, startMs, endMs, atMs]), [
    [0, 300, 1200, 5370],
    [1, 55_300, 56_200, 60_370],
  ]);
});

test('notices, lag and ends are of their channel', () => {
  const conversation = new Conversation();
  for (const channel of /** @type {const} */ (['me', 'them'])) conversation.apply(channel, started(channel));
  conversation.apply('me', { event: 2, type: 'warning', code: 'no_model', message: 'm' });
  conversation.apply('them', { event: 2, type: 'warning', code: 'no_model', message: 'm' });
  conversation.apply('me', { event: 3, type: 'lag', behind_ms: 1000, update_interval_ms: 400 });
  conversation.apply('them', { event: 3, type: 'lag', behind_ms: 3000, update_interval_ms: 400 });
  conversation.apply('them', final(4, 1, 0, 'x'));
  assert.deepEqual(conversation.notices().map(({ channel, key }) => [channel, key]), [['me', 'me:0:2'], ['them', 'them:0:2']]);
  assert.equal(conversation.behindMs, 3000);
  assert.equal(conversation.endOf('them', 1, 1), 900);
  assert.equal(conversation.endOf('me', 1, 1), null);
  conversation.closeChannel('them');
  assert.equal(conversation.behindMs, 1000);
});

test('new targets are waited for in every channel, also one that begins later', () => {
  const conversation = new Conversation();
  conversation.expect(['es']);
  conversation.apply('me', started('a'));
  conversation.apply('me', { event: 2, type: 'speech_started', utterance: 1, start_ms: 0 });
  const [line] = conversation.lines();
  assert.deepEqual(line?.kind === 'speech' && line.translations.map(({ target }) => target), ['es']);
});

test('late sound is not taken for a pause; sleep is', () => {
  const clock = new SoundClock(0);
  clock.heard(1000, 100);
  clock.heard(7000, 200);
  assert.equal(clock.at(150), 1050);
  clock.heard(30_000, 300);
  assert.equal(clock.at(200), 29_900);
  assert.equal(clock.endAt(200), 1100);
  assert.equal(clock.from(100).at(0), 1000);
  assert.equal(clock.from(100).at(150), 29_950);
});
