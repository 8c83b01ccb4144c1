/**
 * Both channels of the page in a real browser, against the stub server: a fake microphone, and a tab that is shared with its
 * sound. Fails when something is not as it should be.
 *
 * `node dev/channels-check.mjs [FOLDER]` leaves a picture in the folder; CHROMIUM names the browser.
 */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { ANSWERS, SCRIPT } from './stub-scripts.mjs';
import { serve } from './stub-server.mjs';

const pictures = process.argv[2];
/** @template T @param {T[]} script */
const often = (script) => Array.from({ length: 20 }, () => script).flat();
const stub = await serve({ wordMs: 60, script: often(SCRIPT), answers: often(ANSWERS) });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // What is shared is the page itself, which plays a tone.
  args: [
    '--no-sandbox', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream', '--auto-accept-this-tab-capture',
  ],
});
const context = await browser.newContext({ permissions: ['microphone'], viewport: { width: 1100, height: 800 } });
const page = await context.newPage();
/** @type {string[]} */
const complaints = [];
page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
page.on('pageerror', (error) => complaints.push(String(error)));
await page.addInitScript(() => localStorage.setItem('subtide.settings', JSON.stringify({ targets: ['es'], channels: ['me', 'them'] })));
await page.goto(stub.url);

/** @param {string} text */
const until = (text) => page.locator('#lines').getByText(text).first().waitFor({ timeout: 30_000 });

await page.evaluate(() => {
  const context = new AudioContext();
  const tone = context.createOscillator();
  tone.connect(context.destination);
  tone.start();
});
await page.locator('#toggle').click();
await until('gracias por venir');
await until('Le oímos bien');
const state = () => page.locator('#state').getAttribute('data-state');
assert.equal(await state(), 'open');
assert.equal(stub.received.starts.length, 2);
for (const channel of ['me', 'them']) {
  const meter = page.locator(`[data-channel=${channel}] [role=meter]`);
  await page.waitForFunction((element) => Number(element?.getAttribute('aria-valuenow')) > 30, await meter.elementHandle());
}
if (pictures) await page.screenshot({ path: join(pictures, 'two-channels.png') });

// The end of one is its own affair: the other goes on.
await page.evaluate(() => /** @type {HTMLElement} */ (document.querySelector('#source-them')).click());
for (let n = 0; n < 100 && stub.received.messages.at(-1).type !== 'stop'; n += 1) await page.waitForTimeout(50);
const before = { bytes: stub.received.bytes, lines: await page.locator('#lines > li').count() };
await page.waitForFunction((count) => document.querySelectorAll('#lines > li').length > count + 2, before.lines);
assert.ok(stub.received.bytes > before.bytes);
assert.equal(await state(), 'open');
// And it comes back, by itself.
await page.evaluate(() => /** @type {HTMLElement} */ (document.querySelector('#source-them')).click());
for (let n = 0; n < 100 && stub.received.starts.length < 3; n += 1) await page.waitForTimeout(50);
assert.equal(stub.received.starts.length, 3);
const marks = (await page.locator('#lines > li.line .source .mark').allInnerTexts()).map((mark) => mark.split('\n')[0]);
assert.deepEqual(marks, marks.toSorted(), 'lines stand in the order in which they were spoken');
await page.locator('#toggle').click();
await page.locator('#state[data-state=idle]').waitFor();
assert.deepEqual(complaints, []);
await browser.close();
await new Promise((done) => { stub.drop(); stub.server.close(done); stub.server.closeAllConnections(); });
console.log('ok both channels');
