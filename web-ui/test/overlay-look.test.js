import assert from 'node:assert/strict';
import { test } from 'node:test';

import { heardAs, listeningAddress, lookAsked, lookOf } from '../page/overlay/look.js';
import { mend } from '../page/view/settings.js';

const usual = lookOf(mend({}));
/** Stands in for CSS.supports, which only a browser has. @param {string} value */
const isColour = (value) => /^(#[0-9a-f]{3,8}|white|gold)$/i.test(value);
/** @param {string} query */
const asked = (query) => lookAsked(usual, new URLSearchParams(query), isColour);

test('an address says how the overlay looks', () => {
  const { look, faults } = asked(
    'lines=3&size=48&color=ffe27a&background=white&opacity=0.4&position=top&width=60&align=start&font=serif&outline=2&shadow=0&layout=target&targets=ar,pt-br&hide-state&listen=me',
  );
  assert.deepEqual(faults, []);
  assert.deepEqual(look, {
    lines: 3, scale: 1, size: 48, colour: '#ffe27a', background: 'white', opacity: 0.4, position: 'top', width: 60, align: 'start', font: 'serif', outline: 2,
    shadow: false, layout: 'target', targets: ['ar', 'pt-BR'], source: null, state: false, listen: true,
  });
});

test('what makes no sense is left aside and named', () => {
  const { look, faults } = asked('lines=0&lines=2.5&size=huge&color=url(x)&opacity=2&position=left&width=&targets=!!&listen=them&hide-state=perhaps&toString=1&linez=2');
  assert.deepEqual(look, usual);
  assert.equal(faults.length, 12);
  assert.match(faults[0] ?? '', /lines=0/);
  assert.match(faults.at(-1) ?? '', /no option linez; these are: lines, size/);
});

test('no background is told from a wrong one', () => {
  assert.equal(asked('background=none').look.opacity, 0);
  assert.equal(asked('background=nope').faults.length, 1);
});

test('one that listens by itself is told what is spoken and what to translate into by its address', () => {
  const settings = mend({ source: 'en', targets: ['es'] });
  assert.deepEqual(heardAs(settings, usual), { source: 'en', targets: ['es'] });
  assert.deepEqual(heardAs(settings, asked('listen=me&source=ar&targets=en,zh').look), { source: 'ar', targets: ['en', 'zh'] });
  assert.deepEqual(heardAs(settings, asked('listen=me&source=auto&targets=').look), { source: 'auto', targets: [] });
  assert.deepEqual(asked('source=!!').faults, ['source=!! makes no sense']);
});

test('the address that is offered says what was chosen here', () => {
  const chosen = mend({ source: 'hi', targets: ['en', 'zh-Hant'] });
  const address = listeningAddress(chosen, 'http://127.0.0.1:5026/');
  assert.equal(address, 'http://127.0.0.1:5026/overlay/?listen=me&source=hi&targets=en,zh-Hant');
  const { look, faults } = asked(new URL(address).search);
  assert.deepEqual([faults, look.listen, heardAs(mend({}), look)], [[], true, { source: 'hi', targets: ['en', 'zh-Hant'] }]);
  assert.deepEqual(heardAs(mend({}), asked(new URL(listeningAddress({ source: 'auto', targets: [] }, address)).search).look), { source: 'auto', targets: [] });
});

test('without an address it looks as the settings say', () => {
  const look = lookOf(mend({ layout: 'beside', font: 'mono', overlay: { lines: 4, scale: 4, position: 'top', opacity: 0.2, colour: '#ffcc00', width: 50 } }));
  assert.deepEqual([look.lines, look.scale, look.position, look.opacity, look.colour, look.width, look.layout, look.font], [4, 1.45, 'top', 0.2, '#ffcc00', 50, 'beside', 'mono']);
});
