import assert from 'node:assert/strict';
import { test } from 'node:test';

import { nameOf, parseTag } from '../page/words/languages.js';
import { clock, closedMessage, gapText, noticeMessage } from '../page/words/messages.js';

test('tags are put into canonical case and nonsense is refused', () => {
  assert.equal(parseTag(' PT-br '), 'pt-BR');
  assert.equal(parseTag('zh-hant'), 'zh-Hant');
  for (const nonsense of ['', 'not a tag', 'e', 'x'.repeat(60)]) assert.equal(parseTag(nonsense), null);
});

test('languages are named in themselves, and unknown ones by their tag', () => {
  assert.equal(nameOf('es'), 'Español');
  assert.equal(nameOf('ar'), 'العربية');
  assert.equal(nameOf('qaa'), 'Qaa');
});

test('times read like a clock', () => {
  assert.deepEqual([0, 59_999, 60_000, 3_723_000].map(clock), ['0:00', '0:59', '1:00', '1:02:03']);
});

test('a gap says how long it is and why', () => {
  assert.match(gapText(1000, 3500, 'overloaded'), /^2\.5 s .* too much to do$/);
});

test('a server that reads no audio: what is said is kept, in plain words; and what could not be kept is a gap', () => {
  const notice = { key: '0:1', kind: /** @type {const} */ ('warning'), code: 'audio_paused', message: 'audio waits', retryable: false, retryAfterMs: 0, traceId: '' };
  const message = noticeMessage(notice);
  assert.match(message.title, /nearly full/);
  assert.match(message.text, /what you say is kept/);
  assert.match(gapText(0, 60_000, 'not_kept'), /^60\.0 s .* longer than it can be kept/);
});

test('an error says what to do next and how to find it in the logs', () => {
  const notice = { key: '0:1', kind: /** @type {const} */ ('error'), code: 'overloaded', message: 'every worker is busy', retryable: true, retryAfterMs: 2500, traceId: 'abc' };
  const message = noticeMessage(notice);
  assert.match(message.text, /^It cannot caption everybody .* Press Start to try again in 3 s\.$/);
  assert.equal(message.detail, 'every worker is busy · overloaded · trace abc');
  assert.doesNotMatch(noticeMessage({ ...notice, retryable: false }).text, /Start/);
  assert.match(noticeMessage({ ...notice, retryAfterMs: 7_200_000 }).text, /try again after \d/);
});

test('a stop that was asked for is no message; a broken connection is, with its close code', () => {
  assert.equal(closedMessage({ cause: 'stopped', code: 1000, reason: '', retryAfterMs: 0 }), null);
  assert.equal(closedMessage({ cause: 'lost', code: 1006, reason: '', retryAfterMs: 0 })?.detail, 'close code 1006');
  assert.match(closedMessage({ cause: 'unauthorized', code: 0, reason: '', retryAfterMs: 0 })?.title ?? '', /token/);
});

test('models that cannot be loaded: what to do instead, and why in the program’s own words', () => {
  const message = closedMessage({ cause: 'no_local', code: 0, reason: 'there is no model.json in the folder', retryAfterMs: 0 });
  assert.deepEqual([message?.tone, message?.detail], ['error', 'there is no model.json in the folder']);
  assert.match(message?.text ?? '', /another folder .*a server/);
});
