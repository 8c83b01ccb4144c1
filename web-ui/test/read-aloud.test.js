import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Captions } from '../page/captions/captions.js';
import { finishedText } from '../page/view/line-view.js';

/** @import { ServerEvent } from '../page/link/protocol.js' */

/** A session with one caption in it, as the server tells it. @param {Partial<Extract<ServerEvent, { type: 'caption' }>>} [caption] */
function heard(caption = {}) {
  const captions = new Captions();
  captions.expect(['es']);
  captions.apply(/** @type {ServerEvent} */ ({ event: 1, type: 'started', session: 'a', resume_token: 'r', limits: {} }));
  captions.apply({ event: 2, type: 'caption', utterance: 1, revision: 1, start_ms: 0, end_ms: 900, language: 'en', committed: 'The tide', tail: '', final: true, ...caption });
  return captions;
}

/** @param {Captions} captions @param {readonly string[] | null} [order] */
function aloud(captions, order = ['es']) {
  const [line] = captions.lines();
  return line?.kind === 'speech' ? finishedText(line, order) : null;
}

/** @param {boolean} final @returns {ServerEvent} */
const translated = (final) => ({ event: 3, type: 'translation', utterance: 1, revision: 1, target: 'es', committed: 'La marea', tail: final ? '' : ' sube', final });

test('a line is read aloud in its first translation, and not before that is final', () => {
  const captions = heard();
  assert.equal(aloud(captions), null);
  captions.apply(translated(false));
  assert.equal(aloud(captions), null);
  captions.apply(translated(true));
  assert.deepEqual(aloud(captions), { text: 'La marea', lang: 'es' });
  assert.deepEqual(aloud(captions, null), { text: 'The tide', lang: 'en' }, 'where no translation is shown');
});

test('of a translation that never became final what is committed is read aloud, once the session is over', () => {
  const captions = heard();
  captions.apply(translated(false));
  captions.close();
  assert.deepEqual(aloud(captions), { text: 'La marea', lang: 'es' });
});

test('a line that got no translation is read aloud in its own words, once the session is over', () => {
  const captions = heard();
  captions.close();
  assert.deepEqual(aloud(captions), { text: 'The tide', lang: 'en' });
  const cut = heard({ final: false });
  assert.equal(aloud(cut), null, 'more may come');
  cut.close();
  assert.deepEqual(aloud(cut), { text: 'The tide', lang: 'en' });
});

test('nothing is read aloud of a line without a committed word', () => {
  const captions = heard({ committed: '', tail: 'The', final: false });
  captions.close();
  assert.equal(aloud(captions), null);
});
