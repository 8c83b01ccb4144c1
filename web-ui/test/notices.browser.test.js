/** The notices in a real browser: what is on the page already stays as it is. Skipped where there is no Chromium, unless CI is set. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { SCRIPT } from '../dev/stub-scripts.mjs';
import { HEADERS, serve } from '../dev/stub-server.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const absent = !existsSync(CHROMIUM) && !process.env.CI;
const skip = absent ? `no browser at ${CHROMIUM}: install Chromium, or name one in CHROMIUM` : false;
if (absent) console.error(`SKIPPED: ${skip}`);

const PAGE = readFileSync(new URL('../page/index.html', import.meta.url), 'utf8').replace(/<script.*main\.js.*<\/script>/, '');

/** Makes `world`: notices by their keys, those dismissed, and what a screen reader is told, which is what is put into the alert. */
const WORLD = `(async () => {
  const [{ Notices }, { localise }] = await Promise.all(['/view/notices.js', '/view/dom.js'].map((path) => import(path)));
  localise(document);
  const notices = new Notices();
  const world = { dismissed: [], added: [] };
  world.show = (...keys) => notices.show(
    keys.map((key) => ({ key: key.split('=')[0], message: { tone: 'warning', title: 'Notice ' + key, text: 'What to do.' } })),
    (key) => { world.dismissed.push(key); world.show(...keys.filter((each) => each !== key)); });
  new MutationObserver((all) => world.added.push(...all.flatMap(({ addedNodes }) => [...addedNodes].map(({ textContent }) => textContent))))
    .observe(document.getElementById('notices'), { childList: true, subtree: true });
  world.focus = () => document.activeElement.closest('.notice')?.querySelector('.title').textContent ?? document.activeElement.id;
  globalThis.world = world;
})()`;

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof serve>>} */
let stub;
before(async () => {
  if (skip) return;
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--headless', '--disable-gpu', '--no-first-run', '--disable-background-networking'] });
  stub = await serve({ wordMs: 20, script: SCRIPT });
});
after(async () => {
  await browser?.close();
  stub?.server.close();
  stub?.server.closeAllConnections();
});

/** @param {(page: import('playwright-core').Page) => Promise<void>} check */
async function scene(check) {
  const page = await browser.newPage();
  await page.route('**/test.html', (route) => route.fulfill({ contentType: 'text/html; charset=utf-8', headers: HEADERS, body: PAGE }));
  await page.goto(`${stub.url}/test.html`);
  await page.evaluate(WORLD);
  await check(page);
  await page.close();
}

test('a notice that stays is not put there again, and one that comes is', { skip }, () => scene(async (page) => {
  await page.evaluate("world.show('a', 'b')");
  await page.evaluate('world.added.length = 0');
  await page.evaluate("world.show('a', 'b', 'c')");
  assert.deepEqual(await page.evaluate('world.added'), ['Notice cWhat to do.Dismiss']);
  await page.evaluate("world.added.length = 0, world.show('c', 'b=new')");
  assert.deepEqual(await page.locator('#notices .title').allInnerTexts(), ['Notice c', 'Notice b=new']);
  assert.equal(await page.locator('#notices').getAttribute('aria-atomic'), 'false');
}));

test('dismissed by keyboard, the focus goes to the next notice, and in the end to the captions', { skip }, () => scene(async (page) => {
  await page.evaluate("world.show('a', 'b', 'c')");
  await page.locator('#notices button').nth(1).focus();
  await page.evaluate("world.show('new', 'a', 'b', 'c')");
  assert.equal(await page.evaluate('world.focus()'), 'Notice b', 'another came');
  for (const next of ['Notice c', 'Notice a', 'Notice new', 'scroller']) {
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate('world.focus()'), next);
    if (next === 'Notice c') await page.evaluate("world.show('new', 'a', 'c')");
  }
  assert.deepEqual(await page.evaluate('world.dismissed'), ['b', 'c', 'a', 'new']);
  await page.evaluate("world.show('a')");
  assert.equal(await page.evaluate('world.focus()'), 'scroller', 'a notice takes no focus');
}));
