import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { CATALOGUES, clock, direction, number, onSpoken, seconds, speak, spoken, t } from '../page/words/t.js';

const PAGE = fileURLToPath(new URL('../page/', import.meta.url));
const english = /** @type {Record<string, string>} */ (CATALOGUES.en ?? {});
const others = Object.entries(CATALOGUES).filter(([tag]) => tag !== 'en');

/** Everything of the page but its catalogues. */
async function sources() {
  const files = (await readdir(PAGE, { recursive: true })).filter((file) => /\.(js|html)$/.test(file) && !file.includes('catalogues'));
  return Promise.all(files.map(async (file) => ({ file, text: await readFile(join(PAGE, file), 'utf8') })));
}

/** @param {string} text @returns {string[]} */
function places(text) {
  return [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '').sort();
}

afterEach(() => speak('en', []));

test('every catalogue has the same keys, and in each value the same places', () => {
  for (const [tag, catalogue] of others) {
    assert.deepEqual(Object.keys(catalogue).sort(), Object.keys(english).sort(), tag);
    for (const [key, text] of Object.entries(catalogue)) assert.deepEqual(places(text), places(english[key] ?? ''), `${tag}: ${key}`);
  }
});

test('no value is empty, and none that has words is the English one again', () => {
  // Names, and words that are the same in both languages.
  const same = new Set(['page.minutes', 'page.seconds', 'settings.contrast.normal']);
  for (const [tag, catalogue] of others) {
    for (const [key, text] of Object.entries(catalogue)) {
      assert.notEqual(text.trim(), '', `${tag}: ${key}`);
      const wordy = /\p{L}{3}/u.test(english[key]?.replace(/\{\w+\}/g, '') ?? '');
      if (wordy && !same.has(key)) assert.notEqual(text, english[key], `${tag}: ${key}`);
    }
  }
});

test('every key of the HTML is in the catalogues', async () => {
  let found = 0;
  for (const { file, text } of (await sources()).filter(({ file }) => file.endsWith('.html'))) {
    for (const [, key = ''] of text.matchAll(/data-t(?:-\w+)?="([^"]+)"/g)) {
      found += 1;
      assert.ok(key in english, `${file}: ${key}`);
    }
  }
  assert.ok(found > 20, 'the search finds nothing');
});

test('every key is used', async () => {
  const all = (await sources()).map(({ text }) => text).join('\n');
  const literal = new Set([...all.matchAll(/['"`](\w+(?:\.\w+)+)['"`]/g)].map(([, key]) => key));
  // Keys put together, as in `page.phase.${phase}`.
  const patterns = [...all.matchAll(/`(\w+\.[\w.]*\$\{[^`]*)`/g)].map(([, template = '']) => {
    const parts = template.split(/\$\{[^}]*\}(?:'\)?\})?/).map((part) => part.replace(/[.]/g, '\\.'));
    return new RegExp(`^${parts.join('[\\w.]+')}$`);
  });
  const unused = Object.keys(english).filter((key) => !literal.has(key) && !patterns.some((pattern) => pattern.test(key)));
  assert.deepEqual(unused, []);
});

test('the page has no words of its own in the HTML', async () => {
  const { text = '' } = (await sources()).find(({ file }) => file === 'index.html') ?? {};
  const body = text.slice(text.indexOf('<body>')).replace(/<noscript>.*<\/noscript>/s, '').replace(/<[^>]*>/g, ' ');
  assert.deepEqual(body.split(/\s+/).filter(Boolean), ['Subtide', '–', '–', 'A', 'A'], 'say it with data-t');
});

test('without JavaScript the page on privacy says in English what the catalogue says', async () => {
  const { text = '' } = (await sources()).find(({ file }) => file === join('privacy', 'index.html')) ?? {};
  const said = [...text.matchAll(/<(\w+)[^>]* data-t="([^"]+)">([^<]*)<\/\1>/g)].map(([, , key = '', words]) => [key, words]);
  assert.deepEqual(Object.fromEntries(said), Object.fromEntries(Object.entries(english).filter(([key]) => key.startsWith('privacy.'))));
});

test('the language is the one chosen, or the first of the reader’s that there is', () => {
  speak('auto', ['fr-FR', 'ar-EG', 'en']);
  assert.deepEqual([spoken(), direction()], ['ar', 'rtl']);
  speak('zh', ['ar']);
  assert.deepEqual([spoken(), direction()], ['zh', 'ltr']);
  speak('auto', ['constructor', 'fr']);
  assert.equal(spoken(), 'en');
});

test('whoever says things again is told of another language, and only then', () => {
  let told = 0;
  onSpoken(() => (told += 1));
  speak('es', []);
  speak('es', []);
  assert.equal(told, 1);
});

test('numbers and times are written as the language does', () => {
  speak('es', []);
  assert.equal(seconds(2540), '2,5 s');
  assert.equal(t('page.behind', { time: seconds(3400) }), 'Los subtítulos van 3,4 s por detrás');
  speak('hi', []);
  assert.equal(clock(3_723_000), `${number(1)}:02:03`);
  speak('en', []);
  assert.equal(t('page.tagFull', { count: 4 }), 'The server takes 4 languages at most; take one away first.');
  assert.equal(t('page.behind'), 'Captions are {time} behind', 'a place without a value stays');
});
