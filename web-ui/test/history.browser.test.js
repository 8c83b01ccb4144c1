/**
 * The transcript and the history in a real browser: what they do is done to a real DOM and a real IndexedDB. Skipped where
 * there is no Chromium (CHROMIUM names one; default /usr/bin/chromium), unless CI is set.
 */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { SCRIPT } from '../dev/stub-scripts.mjs';
import { HEADERS, serve } from '../dev/stub-server.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const absent = !existsSync(CHROMIUM) && !process.env.CI;
const skip = absent ? `no browser at ${CHROMIUM}: install Chromium, or name one in CHROMIUM` : false;
if (absent) console.error(`SKIPPED: ${skip}`);

/** The page as it is, with the test in the place of main.js, and a choice that settings would have. */
const PAGE = readFileSync(new URL('../page/index.html', import.meta.url), 'utf8')
  .replace(/<script.*main\.js.*<\/script>/, '')
  .replace('</footer>', '<input type="checkbox" id="keep" aria-label="keep"></footer>');

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof serve>>} */
let stub;
before(async () => {
  if (skip) return;
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--headless', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream'] });
  stub = await serve({ wordMs: 20, script: SCRIPT });
});
after(async () => {
  await browser?.close();
  stub?.server.close();
  stub?.server.closeAllConnections();
});

/**
 * A page of its own, with lines that the test sets in `world.lines`.
 * @param {(page: import('playwright-core').Page, again: () => Promise<void>) => Promise<void>} check
 * @param {string} [language]
 */
async function scene(check, language = 'en') {
  const context = await browser.newContext({ viewport: { width: 1000, height: 700 } });
  const page = await context.newPage();
  /** @type {string[]} */
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  await page.route('**/test.html', (route) => route.fulfill({ contentType: 'text/html; charset=utf-8', headers: HEADERS, body: PAGE }));
  const open = async () => {
    await page.goto(`${stub.url}/test.html`);
    await page.evaluate(WORLD);
    await page.evaluate((chosen) => world.speak(chosen), language);
  };
  await open();
  await check(page, open);
  assert.deepEqual(complaints, []);
  await context.close();
}

/** Makes `world`: the modules, lines as they come, and what was saved. */
const WORLD = `(async () => {
  const [{ Transcript }, { HistoryView }, { speak }, store] = await Promise.all(
    ['/view/transcript.js', '/view/history.js', '/words/t.js', '/history/store.js'].map((path) => import(path)));
  const settings = { keepHistory: false, layout: 'below', targets: ['es'] };
  const world = { lines: [], saved: [], settings, store, began: 1795285800000, frames: () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))) };
  world.speak = (language) => speak(language, []);
  world.transcript = new Transcript(settings);
  world.line = (utterance, committed, es, more = {}) => ({
    kind: 'speech', key: '0:' + utterance, run: 0, utterance, startMs: utterance * 3000, endMs: utterance * 3000 + 2500, atMs: world.began + utterance * 3000, channel: 'me',
    language: 'en', committed, tail: '', final: true, live: false,
    translations: [{ target: 'es', committed: es, tail: '', final: true, waiting: false }], ...more });
  world.draw = () => { world.transcript.draw(world.lines, settings.targets); world.history.take(world.lines); };
  world.history = new HistoryView({
    host: { save: async (name, type, text) => { world.saved.push({ name, type, text }); return true; } },
    lines: () => world.lines, settings, show: (key) => world.transcript.show(key) });
  document.getElementById('keep').addEventListener('change', (event) => { settings.keepHistory = event.target.checked; });
  world.many = (count) => { world.lines = Array.from({ length: count }, (_, index) => world.line(index + 1, 'Sentence number ' + (index + 1) + ' about the tide.', 'Frase número ' + (index + 1) + ' sobre la marea.')); world.draw(); };
  globalThis.world = world;
})()`;

/** @param {import('playwright-core').Page} page */
const top = (page) => page.locator('#scroller').evaluate((scroller) => scroller.scrollTop);

/** @param {() => Promise<boolean>} condition */
async function until(condition) {
  for (let turn = 0; !(await condition()); turn += 1) {
    assert.ok(turn < 300, 'it never came to pass');
    await new Promise((done) => setTimeout(done, 100));
  }
}

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

test('nothing is kept unless it is asked for; what is kept is there after a reload, and goes when it should', { skip }, () => scene(async (page, again) => {
  const kept = () => page.evaluate("world.store.Store.open().then(async (store) => { const all = await store.list(); store.close(); return all.map(({ lines, sources, targets }) => ({ lines, sources, targets })); })");
  await page.evaluate('world.many(3); world.history.take(world.lines)');
  await page.waitForTimeout(1300);
  assert.deepEqual(await kept(), []);
  await page.locator('#keep').check();
  await until(async () => (await kept()).length === 1);
  await page.evaluate("world.lines.push(world.line(4, 'Unfinished', '', { final: false, live: true }), world.line(5, 'Zebra crossing.', 'Paso de cebra.')); world.draw()");
  await until(async () => (await kept())[0].lines === 4);
  assert.deepEqual(await kept(), [{ lines: 4, sources: ['en'], targets: ['es'] }]);

  await again();
  await page.evaluate("world.settings.keepHistory = true; world.history.settingsChanged(); world.began += 864e5; world.lines = [world.line(1, 'Another day.', 'Otro día.')]; world.draw()");
  await page.locator('#open-history').click();
  await page.locator('.conversation').nth(1).waitFor();
  await page.locator('#history-search').fill('cebra');
  await page.locator('.hit').click();
  await page.locator('#history-lines li.shown').waitFor();
  assert.ok(await page.locator('#history-lines li.shown').evaluate((line) => line === document.activeElement));
  assert.equal(await page.locator('.conversation').nth(1).getAttribute('aria-current'), 'true');
  await page.locator('button[data-export="txt"]').click();
  await until(() => page.evaluate('world.saved.length === 1'));
  assert.match(await page.evaluate('world.saved[0].text'), /Zebra crossing\.\n$/);
  await page.keyboard.press('Escape');

  await page.locator('#keep').evaluate((box) => { /** @type {HTMLInputElement} */ (box).checked = true; });
  await page.locator('#keep').uncheck();
  const question = page.locator('dialog.ask');
  assert.match(await question.innerText(), /no longer kept\. Delete those .*\(2\)\?/);
  await question.getByText('Keep', { exact: true }).click();
  assert.equal((await kept()).length, 2);
  await page.locator('#open-history').click();
  await page.locator('.remove').last().click();
  await question.getByText('Delete', { exact: true }).click();
  await page.locator('.conversation').nth(1).waitFor({ state: 'detached' });
  assert.deepEqual((await kept()).map((/** @type {{ lines: number }} */ { lines }) => lines), [1]);
  await page.keyboard.press('Escape');
  await page.locator('#keep').check();
  await page.locator('#keep').uncheck();
  await question.getByText('Delete', { exact: true }).click();
  await until(async () => (await kept()).length === 0);
}));

test('lines that finish out of order are kept in the order they began', { skip }, () => scene(async (page) => {
  const order = () => page.evaluate("world.store.Store.open().then(async (store) => { const [first] = await store.list(); const lines = first ? await store.lines(first.id) : []; store.close(); return lines.map(({ committed }) => committed).join(' '); })");
  await page.locator('#keep').check();
  await page.evaluate("world.open = { final: false, live: true }; world.lines = [world.line(1, 'a', '', world.open), world.line(2, 'b', ''), world.line(3, 'c', '', world.open), world.line(4, 'd', '')]; world.draw()");
  await until(async () => (await order()) === 'b d');
  await page.evaluate("world.lines = ['a', 'b', 'c', 'd'].map((text, index) => world.line(index + 1, text, '')); world.draw()");
  await until(async () => (await order()).length === 7);
  assert.equal(await order(), 'a b c d');
}));

test('what was said while keeping was off in between is never kept, nor what was deleted', { skip }, () => scene(async (page) => {
  const kept = () => page.evaluate("world.store.Store.open().then(async (store) => { const all = await store.list(); const lines = await Promise.all(all.map(({ id }) => store.lines(id))); store.close(); return all.map(({ lines: count }, index) => `${count}: ${lines[index].map(({ committed, translations }) => committed + translations.map((each) => each.committed).join('')).join(' ')}`); })");
  const question = page.locator('dialog.ask');
  const pass = () => page.evaluate('new Promise((done) => setTimeout(done, 1300))');
  await page.evaluate("world.say = (n, text, more) => { world.lines = [...world.lines.filter(({ utterance }) => utterance !== n), world.line(n, text, '', more)].sort((a, b) => a.utterance - b.utterance); world.draw(); }; world.open = { final: false, live: true }; world.say(1, 'before')");
  await page.locator('#keep').check();
  await until(async () => (await kept())[0] === '1: before');
  await page.locator('#keep').uncheck();
  await question.getByText('Keep', { exact: true }).click();
  await page.evaluate("world.say(2, 'private'); world.say(3, 'half', world.open)");
  await pass();
  await page.evaluate("world.say(4, 'secret')");
  await page.locator('#keep').check();
  await page.evaluate("world.say(2, 'private', { translations: [{ target: 'es', committed: 'privado', tail: '', final: true, waiting: false }] }); world.say(3, 'half and half'); world.say(5, 'after')");
  await until(async () => /after/.test((await kept())[0]));
  assert.deepEqual(await kept(), ['2: before after']);

  // The conversation of this page can be deleted, and nothing brings it back.
  await page.locator('#open-history').click();
  await page.locator('.remove').click();
  await question.getByText('Delete', { exact: true }).click();
  await page.locator('.remove').waitFor({ state: 'detached' });
  assert.deepEqual(await kept(), []);
  assert.ok(await page.getByText('Delete all kept conversations…').isHidden());
  await page.evaluate("world.say(5, 'after', { translations: [{ target: 'es', committed: 'más tarde', tail: '', final: true, waiting: false }] })");
  await pass();
  assert.deepEqual(await kept(), []);
  await page.evaluate("world.say(6, 'new')");
  await page.locator('.remove').waitFor();
  assert.deepEqual(await kept(), ['1: new']);
  await page.getByText('Delete all kept conversations…').click();
  await question.getByText('Delete', { exact: true }).click();
  await until(async () => (await kept()).length === 0);
}));

test('the newest two hundred conversations are kept, and the lines of the others go with them', { skip }, () => scene(async (page) => {
  const found = await page.evaluate(`(async () => { const store = await world.store.Store.open('bound');
    for (let n = 0; n < 205; n += 1) await store.keep({ id: 'c' + n, beganMs: (n * 7919) % 205, lastsMs: 1, sources: [], targets: [], lines: 1 }, [{ place: 0, line: world.line(n, 'x', 'y') }]);
    const all = await store.list(); let lines = 0;
    for (let n = 0; n < 205; n += 1) lines += (await store.lines('c' + n)).length;
    const counts = { all: all.length, lines, sorted: all.every(({ beganMs }, index) => index === 0 || beganMs < all[index - 1].beganMs), newest: all[0].beganMs };
    await store.clear(); const cleared = (await store.list()).length + (await store.lines('c9')).length; store.close(); return { ...counts, cleared }; })()`);
  assert.deepEqual(found, { all: 200, lines: 200, sorted: true, newest: 204, cleared: 0 });
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
  assert.equal(words, SCRIPT.filter(({ gap }) => !gap).map(({ text }) => text).join(' '));
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
