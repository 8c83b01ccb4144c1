import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fitTerm, follow, MAX_TERMS, mend, save } from '../page/view/settings.js';
import { shortcutOf } from '../page/view/shortcut.js';

test('without anything stored there is something sensible', () => {
  const settings = mend(undefined);
  assert.deepEqual([settings.source, settings.targets, settings.channels, settings.keepHistory, settings.language, settings.layout], ['en', ['es'], ['me'], false, 'auto', 'below']);
  assert.deepEqual(settings.overlay, { lines: 2, scale: 2, position: 'bottom', opacity: 0.75, colour: '#ffffff', width: 90 });
});

test('what was chosen comes back as it was', () => {
  const chosen = mend({
    source: 'auto', targets: ['ar', 'zh'], added: ['qaa'], channels: ['me', 'them'], devices: { me: 'a', them: 'b' }, glossary: [{ term: 'Subtide', translations: { ar: 'سبتايد' } }, { term: 'Ana' }],
    keepHistory: true, language: 'ar', scale: 4, theme: 'dark', contrast: 'high', font: 'spaced', layout: 'target', overlay: { lines: 3, scale: 1, position: 'top', opacity: 0, colour: '#00ff00', width: 40 },
  });
  assert.deepEqual(mend(JSON.parse(JSON.stringify(chosen))), chosen);
  assert.equal(chosen.glossary.length, 2);
});

test('what makes no sense is mended, one by one', () => {
  const usual = mend({});
  const broken = {
    source: 7, targets: 'es', added: null, channels: ['you'], devices: [], glossary: { term: 'x' }, keepHistory: 'yes', language: 'constructor', scale: 2.5, theme: 'blue', contrast: '', font: 3, layout: {},
    overlay: { lines: 'many', scale: 99, position: 'left', opacity: NaN, colour: 'url(x)', width: null },
  };
  assert.deepEqual(mend(broken), usual);
  const { lines, opacity, width } = mend({ overlay: { lines: 99, opacity: -1, width: 5 } }).overlay;
  assert.deepEqual([lines, opacity, width], [8, 0, 20]);
  for (const nonsense of [null, 3, 'x', []]) assert.deepEqual(mend(nonsense), usual);
});

test('the last source can be left out, and stays so', () => {
  assert.deepEqual(mend({ channels: [] }).channels, []);
  assert.deepEqual(mend({ channels: ['you'] }).channels, ['me']);
});

test('in the desktop client a window follows the others, not the echo of itself', () => {
  /** @type {((event: { payload: any }) => void)[]} */
  const listeners = [];
  /** @type {any[]} */
  const sent = [];
  const event = {
    emit: async (/** @type {string} */ _name, /** @type {any} */ payload) => void sent.push(structuredClone(payload)),
    listen: async (/** @type {string} */ _name, /** @type {(event: { payload: any }) => void} */ told) => void listeners.push(told),
  };
  Object.assign(globalThis, { __TAURI__: { event }, addEventListener: () => {} });
  try {
    const settings = mend({ scale: 1 });
    let changes = 0;
    follow(settings, () => (changes += 1));
    save(settings);
    // The next choice is made before the event is back.
    settings.scale = 4;
    for (const told of listeners) told({ payload: sent[0] });
    assert.deepEqual([settings.scale, changes], [4, 0]);
    for (const told of listeners) told({ payload: { ...sent[0], from: 'another window' } });
    assert.deepEqual([settings.scale, changes], [1, 1]);
    assert.equal(Object.hasOwn(settings, 'from'), false);
  } finally {
    Object.assign(globalThis, { __TAURI__: undefined, addEventListener: undefined });
  }
});

test('a term is made fit for the server, or left out', () => {
  assert.equal(fitTerm({ term: '  ' }), null);
  assert.deepEqual(fitTerm({ term: ' Ana ', translations: { es: ' ', 'pt-br': ' Anna ', '!': 'x' } }), { term: 'Ana', translations: { 'pt-BR': 'Anna' } });
  const long = fitTerm({ term: 'é'.repeat(100) });
  assert.equal(new TextEncoder().encode(long?.term).length, 128);
  assert.equal(mend({ glossary: Array.from({ length: 400 }, (_, n) => ({ term: `t${n}` })) }).glossary.length, MAX_TERMS);
});

test('keys pressed together are named as the desktop client names them', () => {
  const none = { ctrlKey: false, altKey: false, shiftKey: false, metaKey: false };
  assert.equal(shortcutOf({ ...none, code: 'KeyC', ctrlKey: true, altKey: true }), 'Ctrl+Alt+C');
  assert.equal(shortcutOf({ ...none, code: 'F9' }), 'F9');
  assert.equal(shortcutOf({ ...none, code: 'Digit1', metaKey: true, shiftKey: true }), 'Shift+Super+1');
  for (const code of ['KeyC', 'Tab', 'Escape']) assert.equal(shortcutOf({ ...none, code }), null);
  assert.equal(shortcutOf({ ...none, code: 'KeyC', shiftKey: true }), null, 'that is a capital letter');
  for (const code of ['Backspace', 'Delete']) assert.equal(shortcutOf({ ...none, code }), '', 'it takes a shortcut away');
  assert.equal(shortcutOf({ ...none, code: 'Backspace', ctrlKey: true }), null);
  assert.equal(shortcutOf({ ...none, code: 'ControlLeft', ctrlKey: true }), null, 'that is no key yet');
});
