/** The transcript and the history in a real browser; what is kept on the device: history-kept.browser.test.js. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { browser, scene, skip, stub, until } from '../dev/history-scene.mjs';
import { SCRIPT } from '../dev/stub-scripts.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** @param {import('playwright-core').Page} page */
const top = (page) => page.locator('#scroller').evaluate((scroller) => scroller.scrollTop);

test('an hour of lines leaves few in the DOM, and all come back to a reader who scrolls', { skip }, () => scene(async (page) => {
  await page.evaluate('world.many(1500)');
  assert.ok((await page.locator('#lines > li').count()) <= 160);
  assert.equal(await page.locator('#lines > li').last().locator('.source .words').innerText(), 'Sentence number 1500 about the tide.');
  for (let turn = 0; turn < 40 && (await page.locator('#lines > li').count()) < 1500; turn += 1) {
    await page.locator('#scroller').evaluate((scroller) => scroller.scrollTo(0, 0));
    await page.evaluate('world.frames()');
  }
  assert.equal(await page.locator('#lines > li').count(), 1500);
  assert.deepEqual(await page.locator('#lines .source .words').evaluateAll((all) => all.filter((each, index) => each.textContent !== `Sentence number ${index + 1} about the tide.`).length), 0);
  await page.locator('#jump').click();
  assert.ok((await page.locator('#lines > li').count()) <= 160, 'they leave again');
}));

test('what a reader reads stays where it is while captions come, and the newest stays in view otherwise', { skip }, () => scene(async (page) => {
  await page.evaluate('world.many(300)');
  const atEnd = () => page.locator('#scroller').evaluate(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight < 2);
  assert.ok(await atEnd());
  await page.evaluate("world.lines.push(world.line(301, 'One more.', 'Una más.')); world.draw(); world.frames()");
  assert.ok(await atEnd(), 'follows');
  await page.locator('#scroller').evaluate((scroller) => scroller.scrollBy(0, -1500));
  await page.evaluate('world.frames()');
  assert.equal(await page.locator('#jump').innerText(), 'Jump to live');
  const reading = () => page.evaluate(`(() => { const edge = document.getElementById('scroller').getBoundingClientRect().top;
    const line = [...document.querySelectorAll('#lines > li')].find((each) => each.getBoundingClientRect().bottom > edge);
    return { text: line.textContent, top: Math.round(line.getBoundingClientRect().top) }; })()`);
  const before = await reading();
  // Lines below, and a translation that grows above.
  await page.evaluate(`(async () => { for (let n = 302; n <= 340; n += 1) { world.lines.push(world.line(n, 'New.', 'Nueva.'));
    const early = world.lines.length - 160; world.lines = world.lines.map((line, index) => index > early - 60 && index < early ? { ...line, translations: [{ ...line.translations[0], committed: line.translations[0].committed + ' más'.repeat(20) }] } : line);
    world.draw(); await world.frames(); } })()`);
  assert.deepEqual(await reading(), before);
  assert.equal(await page.locator('#jump').innerText(), 'Jump to live (39 new)');
  const at = await top(page);
  await page.locator('#jump').click();
  assert.ok((await top(page)) > at && (await atEnd()) && (await page.locator('#jump').isHidden()));
}));

test('what did not change is not touched, and a selection survives', { skip }, () => scene(async (page) => {
  await page.evaluate("world.many(50); world.lines.push(world.line(51, 'The tide', 'La', { final: false, live: true, tail: ' comes' })); world.draw()");
  const touched = await page.evaluate(`(async () => {
    const seen = []; const watch = new MutationObserver((all) => seen.push(...all.map(({ target }) => target.parentElement.closest('li').textContent)));
    watch.observe(document.getElementById('lines'), { subtree: true, childList: true, characterData: true, attributes: true });
    const words = document.querySelector('#lines > li:last-child .source .words');
    document.getSelection().setBaseAndExtent(words.firstChild, 4, words.firstChild, 8);
    // Every line is another object than before, as a program that works them out anew has it.
    world.lines = world.lines.map((line, index) => index < 50 ? structuredClone(line) : world.line(51, 'The tide comes', 'La marea', { final: false, live: true, tail: ' in' }));
    world.draw(); await world.frames();
    return { lines: new Set(seen).size, selected: String(document.getSelection()) }; })()`);
  assert.deepEqual(touched, { lines: 1, selected: 'tide' });
  assert.equal(await page.locator('#lines > li').last().locator('.source .words').innerText(), 'The tide comes in');
}));

test('layouts, voices, sessions, direction and language are in the DOM', { skip }, () => scene(async (page) => {
  await page.evaluate(`world.lines = [world.line(1, 'Good morning.', 'Buenos días.'),
    world.line(2, 'صباح الخير', 'Buenos días.', { key: 't:2', channel: 'them', language: 'ar' }), world.line(3, 'No translation.', '', { run: 1, translations: [] }),
    { kind: 'gap', key: 'g', run: 1, startMs: 9000, endMs: 11000, reason: 'overloaded', channel: 'me' }]; world.draw()`);
  const line = page.locator('#lines > li');
  assert.deepEqual(await page.locator('#lines .who').allInnerTexts(), ['Me', 'Them', 'Me']);
  assert.equal(await line.nth(1).locator('.source .words').evaluate((words) => `${words.getAttribute('lang')} ${words.getAttribute('dir')} ${getComputedStyle(words).direction}`), 'ar auto rtl');
  assert.deepEqual(await page.locator('#lines .session-mark').allInnerTexts(), ['New session']);
  assert.match(await line.nth(3).innerText(), /2\.0 s of speech/);
  const seen = async (/** @type {string} */ layout) => {
    await page.evaluate((chosen) => { world.settings.layout = chosen; world.draw(); }, layout);
    return page.evaluate("[...document.querySelectorAll('#lines .words')].filter((words) => words.checkVisibility()).map((words) => words.textContent)");
  };
  assert.deepEqual(await seen('source'), ['Good morning.', 'صباح الخير', 'No translation.']);
  assert.deepEqual(await seen('target'), ['Buenos días.', 'Buenos días.', 'No translation.']);
  assert.equal((await seen('beside')).length, 5);
  const [source, translation] = await Promise.all(['.source', '.translation'].map((each) => line.nth(0).locator(each).boundingBox()));
  assert.ok(source && translation && translation.x > source.x + source.width - 1 && Math.abs(translation.y - source.y) < 2, 'side by side');
}));

test('history: search without regard to accents, a jump to the line, files as they are asked for', { skip }, () => scene(async (page) => {
  await page.evaluate('world.many(600)');
  await page.locator('#open-history').click();
  assert.ok(await page.locator('#history-search').evaluate((input) => input === document.activeElement));
  assert.match(await page.locator('.conversation').innerText(), /This conversation, now\s+29:59 · Captions: 600/);
  await page.locator('#history-search').fill('NUMERO 17 mareá');
  await page.locator('.hit').first().waitFor();
  assert.equal(await page.locator('.found-count').innerText(), 'Found: 16');
  assert.deepEqual(await page.locator('.hit').first().locator('mark').allInnerTexts(), ['número', '17', 'marea']);
  assert.deepEqual(await page.locator('.hits li').first().locator('.around').allInnerTexts(), ['Sentence number 16 about the tide.', 'Sentence number 18 about the tide.']);
  await page.locator('.hit').first().click();
  assert.ok(await page.locator('#history').evaluate((dialog) => !(/** @type {HTMLDialogElement} */ (dialog).open)));
  assert.equal(await page.locator('#lines > li.shown .source .words').innerText(), 'Sentence number 17 about the tide.');
  await page.evaluate('world.frames()');
  const place = await page.locator('#lines > li.shown').evaluate((line) => { const { top, bottom } = line.getBoundingClientRect(); return { top, bottom, height: innerHeight }; });
  assert.ok(place.top > 0 && place.bottom < place.height, `in view: ${JSON.stringify(place)}`);

  await page.locator('#open-history').click();
  await page.locator('button[data-export="srt"]:enabled').click();
  await page.locator('#history-languages').selectOption('source es');
  for (const format of ['vtt', 'txt', 'json']) await page.locator(`button[data-export="${format}"]`).click();
  await page.getByText('Saved: subtide-', { exact: false }).waitFor();
  const saved = await page.evaluate('world.saved');
  assert.deepEqual(saved.map((/** @type {{ name: string, type: string }} */ { name, type }) => `${name.replace(/[\d-]+/, '')} ${type}`), ['subtide.en.srt application/x-subrip', 'subtide.en.es.vtt text/vtt', 'subtide.en.es.txt text/plain', 'subtide.json application/json']);
  assert.match(saved[0].text, /^1\n00:00:03,000 --> 00:00:05,500\nSentence number 1 about the tide\.\n\n2\n/);
  assert.match(saved[1].text, /<lang es>Frase número 600 sobre la marea\.<\/lang>\n$/);
  assert.match(saved[2].text, /^Subtide · Nov \d+, 2026.*\nAs spoken \(English\) and Español\n\n\[0:03\] Sentence/);
  assert.equal(JSON.parse(saved[3].text).lines.length, 600);
  await page.keyboard.press('Escape');
  assert.ok(await page.locator('#open-history').evaluate((button) => button === document.activeElement), 'the focus goes back');
}));

test('what is found stays where it is while captions come: no second search, no lost place, no lost focus', { skip }, () => scene(async (page) => {
  await page.evaluate(`(async () => { const store = await world.store.Store.open();
    for (let n = 1; n < 4; n += 1) await store.keep({ id: 'c' + n, beganMs: world.began - n * 864e5, lastsMs: 1, sources: ['en'], targets: ['es'], lines: 40 },
      Array.from({ length: 40 }, (_, place) => ({ place, line: world.line(place, 'The tide of day ' + n, 'La marea') })));
    store.close(); world.reads = 0; const lines = world.store.Store.prototype.lines;
    world.store.Store.prototype.lines = function (id) { world.reads += 1; return lines.call(this, id); };
    world.many(30); })()`);
  await page.locator('#open-history').click();
  await page.locator('.conversation').nth(3).waitFor();
  await page.locator('#history-search').fill('tide');
  await page.getByText('Found: 150').waitFor();
  // Where the second kept conversation is read, with the focus there.
  await page.locator('.hits').nth(2).locator('.hit').nth(5).evaluate((hit) => { hit.focus(); hit.scrollIntoView({ block: 'start' }); });
  const look = () => page.evaluate(`(() => { const hit = document.activeElement;
    return { focus: hit.className + ' ' + hit.textContent, top: Math.round(hit.getBoundingClientRect().top), reads: world.reads }; })()`);
  const before = await look();
  assert.match(before.focus, /^hit .*day 2/);
  await page.evaluate(`world.said = []; new MutationObserver(() => world.said.push(document.querySelector('.found-count').textContent))
    .observe(document.querySelector('.found-count'), { childList: true, characterData: true, subtree: true })`);
  await page.evaluate("world.lines.push(world.line(31, 'One more tide.', 'Una más.')); world.draw()");
  await page.getByText('Found: 151').waitFor();
  assert.deepEqual(await look(), before);
  assert.equal(await page.locator('.hits').first().locator('.hit').last().innerText().then((text) => /One more tide/.test(text)), true);
  await page.evaluate("world.lines.push(world.line(32, 'Something else.', 'Otra cosa.')); world.draw(); new Promise((done) => setTimeout(done, 1300))");
  assert.deepEqual(await look(), before);
  assert.deepEqual(await page.evaluate('world.said'), ['Found: 151'], 'no word of searching');
  // A line that changes is shown as it is now, and where it leads is where it is.
  await page.locator('.hits').nth(2).locator('.hit').nth(5).click();
  await page.locator('#history-lines li.shown').waitFor();
  assert.match(await page.locator('#history-lines li.shown').innerText(), /day 2/);
}));

test('lines the page had to forget are still searched and saved, and the page says where they are', { skip }, () => scene(async (page) => {
  await page.evaluate('world.many(2000); world.history.take(); new Promise((done) => setTimeout(done, 1200))');
  await page.evaluate("world.lines = [...world.lines.slice(300), ...Array.from({ length: 300 }, (_, n) => world.line(2001 + n, 'Later.', 'Luego.'))]; world.draw()");
  await page.locator('#open-history').click();
  assert.match(await page.locator('.conversation').innerText(), /2,300/);
  await page.locator('button[data-export="json"]:enabled').click();
  await until(() => page.evaluate('world.saved.length === 1'));
  assert.equal(JSON.parse(await page.evaluate('world.saved[0].text')).lines.length, 2300);
  await page.keyboard.press('Escape');
  for (let turn = 0; turn < 40 && (await page.locator('.forgotten').isHidden()); turn += 1) {
    await page.locator('#scroller').evaluate((scroller) => scroller.scrollTo(0, 0));
    await page.evaluate('world.frames()');
  }
  assert.match(await page.locator('.forgotten').innerText(), /in the history/);
}));

test('the page itself: what was captioned is taken home as a file', { skip }, async () => {
  const context = await browser.newContext({ permissions: ['microphone'], locale: 'en' });
  const page = await context.newPage();
  await page.goto(stub.url);
  await page.locator('#toggle').click();
  await page.getByText('¿Alguna pregunta hasta ahora?').first().waitFor();
  await page.locator('#toggle').click();
  await page.locator('#state[data-state="idle"]').waitFor();
  await page.locator('#open-history').click();
  await page.locator('button[data-export="srt"]:enabled').waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('button[data-export="srt"]').click()]);
  assert.match(download.suggestedFilename(), /^subtide-\d{4}-\d\d-\d\d-\d{4}\.en\.srt$/);
  const words = readFileSync(await download.path(), 'utf8').split('\n\n').map((block) => block.trim().split('\n').slice(2).join(' ')).join(' ');
  // Of the sentence that was given up, what was committed is there too.
  assert.equal(words, SCRIPT.map(({ gap, text }) => (gap ? (text.split(' ')[0] ?? '') : text)).join(' '));
  await context.close();
});

test('in Arabic the lines around one that was found stand where it stands, whichever way they are written', { skip }, () => scene(async (page) => {
  await page.evaluate("document.documentElement.lang = 'ar'; document.documentElement.dir = 'rtl'; world.many(3)");
  await page.locator('#open-history').click();
  await page.locator('#history-search').fill('2');
  await page.locator('.hit').waitFor();
  const edges = (/** @type {string} */ each) => page.locator(each).first().evaluate((text) => { const range = document.createRange(); range.selectNodeContents(text); const box = text.getBoundingClientRect(); return { words: range.getBoundingClientRect().left, left: box.left + parseFloat(getComputedStyle(text).paddingLeft), right: box.right - parseFloat(getComputedStyle(text).paddingRight) }; });
  const hit = await edges('.hit .words');
  for (const each of ['.around.before', '.around.after']) {
    const near = await edges(await page.locator(`${each} > *`).count() ? `${each} > *` : each);
    for (const edge of /** @type {const} */ (['words', 'left', 'right'])) assert.ok(Math.abs(near[edge] - hit[edge]) < 4, `${each} ${edge}: ${near[edge]}, the line itself: ${hit[edge]}`);
  }
}, 'ar'));

test('a file that cannot be made because the device cannot be read says so', { skip }, () => scene(async (page) => {
  await page.evaluate(`(async () => { const store = await world.store.Store.open(); await store.keep({ id: 'c', beganMs: 1, lastsMs: 1, sources: ['en'], targets: [], lines: 1 }, [{ place: 0, line: world.line(1, 'x', 'y') }]); store.close(); })()`);
  await page.locator('#open-history').click();
  await page.locator('.conversation').nth(1).click();
  await page.locator('button[data-export="srt"]:enabled').waitFor();
  await page.evaluate("world.store.Store.prototype.lines = async () => { throw new DOMException('gone') }");
  await page.locator('button[data-export="srt"]').click();
  await page.locator('#history .status').getByText('could not be read').waitFor({ timeout: 5000 });
  assert.deepEqual(await page.evaluate('world.saved'), []);
}));

test('the dialog speaks the five languages, mirrored in Arabic; nothing spills over its edge, and axe finds nothing', { skip }, async () => {
  for (const language of ['ar', 'es', 'hi', 'zh', 'en']) {
    await scene(async (page) => {
      await page.evaluate((chosen) => { document.documentElement.lang = chosen; document.documentElement.dir = chosen === 'ar' ? 'rtl' : 'ltr'; }, language);
      await page.evaluate(`(async () => { const store = await world.store.Store.open();
        for (let n = 1; n < 4; n += 1) await store.keep({ id: 'c' + n, beganMs: world.began - n * 864e5, lastsMs: 61000 * n, sources: ['en'], targets: ['es', 'ar'], lines: 1 }, [{ place: 0, line: world.line(n, 'The tide of day ' + n, 'La marea') }]);
        store.close(); world.many(20); world.lines.push({ kind: 'gap', key: 'g', run: 0, startMs: 64000, endMs: 66000, atMs: world.began + 64000, reason: 'overloaded', channel: 'me' }, world.line(23, 'صباح الخير', 'Buenos días', { channel: 'them', language: 'ar' })); world.draw(); })()`);
      for (const [width, theme] of /** @type {const} */ ([[320, 'light'], [1000, 'dark']])) {
        await page.setViewportSize({ width, height: 640 });
        await page.evaluate((chosen) => { document.documentElement.dataset.theme = chosen; world.history.open(); }, theme);
        await page.locator('button[data-export="srt"]:enabled').waitFor();
        await looks(page, `${language}-${width}-${theme}`);
        await page.locator('#history-search').fill('marea');
        await page.locator('.hits').nth(3).waitFor();
        await looks(page, `${language}-${width}-${theme}-found`);
        await page.keyboard.press('Escape');
        await page.keyboard.press('Escape');
        await page.locator('#history[open]').waitFor({ state: 'detached' });
      }
    }, language);
  }
});

/** Nothing of the dialog is cut off, and axe finds no fault in it. @param {import('playwright-core').Page} page @param {string} name */
async function looks(page, name) {
  if (process.env.HISTORY_PICTURES) await page.screenshot({ path: join(process.env.HISTORY_PICTURES, `${name}.png`) });
  assert.equal(await page.locator('#history').evaluate((dialog) => dialog.scrollWidth - dialog.clientWidth), 0, `${name} scrolls sideways`);
  assert.equal(await page.locator('#history-lines').evaluate((pane) => pane.scrollWidth - pane.clientWidth), 0, `${name}: the lines scroll sideways`);
  await page.evaluate(axe);
  const found = await page.evaluate('axe.run("#history").then(({ violations }) => violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((n) => n.html).join(" | ")}`))');
  assert.deepEqual(found, [], name);
}
