import assert from 'node:assert/strict';
import { test } from 'node:test';

import { find, fold, search, wordsOf } from '../page/history/search.js';

/** What is found, as it is written. @param {string} text @param {string} query */
const found = (text, query) => find(text, wordsOf(query)).map(([from, to]) => text.slice(from, to));

test('case, accents and width make no difference', () => {
  assert.deepEqual(found('Una Canción para Ángela', 'cancion ANGELA'), ['Canción', 'Ángela']);
  assert.deepEqual(found('canci\u006f\u0301n', 'canción'), ['canci\u006f\u0301n']);
  assert.deepEqual(found('Ｔｉｄｅ １２', 'tide 12'), ['Ｔｉｄｅ', '１２']);
  assert.deepEqual(found('die Straße', 'STRASSE'), ['Straße']);
  assert.deepEqual(found('İstanbul, ISTANBUL, ıstanbul', 'istanbul'), ['İstanbul', 'ISTANBUL', 'ıstanbul']);
  assert.deepEqual(found('ὁ λόγος', 'ΛΟΓΟΣ'), ['λόγος']);
  assert.deepEqual(found('Łódź', 'lodz'), ['Łódź']);
});

test('Arabic is found without vowel signs, stretching or the seat of a hamza', () => {
  assert.deepEqual(found('وَقَالَ مُحَمَّدٌ', 'محمد'), ['مُحَمَّدٌ']);
  assert.deepEqual(found('شكـــرا لك', 'شكرا'), ['شكـــرا']);
  assert.deepEqual(found('أهلا', 'اهلا'), ['أهلا']);
  assert.deepEqual(found('محمد', 'مُحَمَّد'), ['محمد']);
});

test('vowels of Devanagari do make a difference; the dot of a borrowed letter does not', () => {
  assert.deepEqual(found('किताब', 'कताब'), []);
  assert.deepEqual(found('ज़मीन', 'जमीन'), ['ज़मीन']);
});

test('characters of the East are found anywhere, and only whole', () => {
  assert.deepEqual(found('大家早上好，感谢各位', '早上'), ['早上']);
  assert.deepEqual(found('がく', 'か'), []);
  assert.deepEqual(found('ｶﾞｸ と ガク', 'ガク'), ['ｶﾞｸ', 'ガク']);
  assert.deepEqual(found('한국', '하'), []);
});

test('every word must be there; places that touch are one', () => {
  assert.deepEqual(found('the sea wall', 'sea harbour'), []);
  assert.deepEqual(found('seaside', 'sea easi'), ['seasi']);
  assert.deepEqual(found('anything', ''), []);
  assert.deepEqual(found('a  wide\n space', 'wide space'), ['wide', 'space']);
  assert.equal(fold('A\u00a0B'), 'a b');
});

test('lines are searched in the words spoken and in translations, gaps not', () => {
  /** @param {number} utterance @param {string} committed @param {string} es @returns {import('../page/history/heard.js').HeardLine} */
  const line = (utterance, committed, es) => ({
    kind: 'speech', key: `0:${utterance}`, run: 0, utterance, startMs: 0, endMs: 1, language: 'en', committed, tail: ' tide', final: true, live: false,
    translations: [{ target: 'es', committed: es, tail: '', final: true, waiting: false }],
  });
  const lines = [line(1, 'The tide', 'La marea'), line(2, 'Nothing', 'Nada'), line(3, 'Tides', 'Mareas')];
  /** @type {import('../page/history/heard.js').HeardLine} */
  const gap = { kind: 'gap', key: 'g', run: 0, startMs: 0, endMs: 1, reason: 'failed' };
  assert.deepEqual(search([gap, ...lines], wordsOf('MAREA'), 9).map(({ index }) => index), [1, 3]);
  assert.deepEqual(search(lines, wordsOf('tide'), 1).map(({ index }) => index), [0]);
  assert.deepEqual(search(lines, wordsOf('tide nada'), 9), []);
});
