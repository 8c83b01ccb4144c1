/**
 * A page of its own in a real browser for tests of the transcript and the history: a real DOM and a real IndexedDB. Skipped
 * where there is no Chromium (CHROMIUM names one; default /usr/bin/chromium), unless CI is set.
 */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';
import { SCRIPT } from './stub-scripts.mjs';
import { HEADERS, serve } from './stub-server.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const absent = !existsSync(CHROMIUM) && !process.env.CI;
export const skip = absent ? `no browser at ${CHROMIUM}: install Chromium, or name one in CHROMIUM` : false;
if (absent) console.error(`SKIPPED: ${skip}`);

/** The page as it is, with the test in the place of main.js, and a choice that settings would have. */
const PAGE = readFileSync(new URL('../page/index.html', import.meta.url), 'utf8')
  .replace(/<script.*main\.js.*<\/script>/, '')
  .replace('</footer>', '<input type="checkbox" id="keep" aria-label="keep"></footer>');

/** @type {import('playwright-core').Browser} */
export let browser;
/** @type {Awaited<ReturnType<typeof serve>>} */
export let stub;
before(async () => {
  if (skip) return;
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage', '--headless', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream'] });
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
export async function scene(check, language = 'en') {
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

/** @param {() => Promise<boolean>} condition */
export async function until(condition) {
  for (let turn = 0; !(await condition()); turn += 1) {
    assert.ok(turn < 300, 'it never came to pass');
    await new Promise((done) => setTimeout(done, 100));
  }
}
