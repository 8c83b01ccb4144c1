/**
 * Both channels of the page in a real browser, against the stub server: a fake microphone, and a tab that is shared with its
 * sound. Fails when something is not as it should be.
 *
 * `node dev/channels-check.mjs [FOLDER]` leaves a picture in the folder; CHROMIUM names the browser.
 */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
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
    '--no-sandbox', '--disable-dev-shm-usage', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream', '--auto-accept-this-tab-capture',
  ],
});
const context = await browser.newContext({ acceptDownloads: true, permissions: ['microphone'], viewport: { width: 1100, height: 800 } });
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

// Over other windows the same stands, also where this page is not looked at; and a file can be taken home.
const overlay = await context.newPage();
await overlay.goto(`${stub.url}/overlay/`);
await overlay.locator('#overlay-lines').getByText('sea wall').first().waitFor({ timeout: 30_000 });
await overlay.close();
await page.locator('#open-history').click();
const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#history button[data-export=srt]').click()]);
assert.match(await readFile(await download.path(), 'utf8'), /Good morning everyone/);
await page.keyboard.press('Escape');

// While paused nothing is sent; the sessions go on.
await page.locator('#pause').click();
assert.equal(await state(), 'paused');
await page.waitForTimeout(300);
const quiet = stub.received.bytes;
await page.waitForTimeout(700);
assert.equal(stub.received.bytes, quiet);
await page.locator('#pause').click();
assert.equal(await state(), 'open');

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
assert.deepEqual([...complaints], []);
console.log('ok both channels');

/** The desktop client by script, as far as the page knows it. */
function tauri() {
  /** @type {Record<string, ((event: { payload: any }) => void)[]>} */
  const listening = {};
  /** @type {[string, any][]} */
  const asked = [];
  let streams = 0;
  /** @type {Record<string, (args: any) => any>} */
  const commands = {
    devices: () => [{ id: 'mic', label: 'USB microphone', channel: 'me' }, { id: 'out', label: 'Loudspeakers', channel: 'them' }],
    person: () => ({ offered: true, person: { id: 'p', name: 'Ana Example', email: null }, provider: 'Google', unclear: false, session_only: true }),
    notices: () => [{ code: 'shortcut_taken', about: 'Ctrl+Alt+C' }],
    settings: () => Promise.reject({ fault: 'failed', message: 'not here' }),
    open_stream: ({ request, told }) => {
      const id = (streams += 1);
      const limits = { max_message_bytes: 65536, max_targets: 16, max_utterance_ms: 20000, idle_timeout_ms: 600000 };
      const say = (/** @type {any} */ message) => setTimeout(() => told.onmessage(message), 20 * id);
      say({ type: 'state', state: 'open' });
      say({ type: 'level', peak: 0.4, heard_ms: 100 });
      say({ type: 'event', event: { event: 1, type: 'started', session: `s${id}`, resume_token: 'r', limits } });
      say({ type: 'event', event: { event: 2, type: 'caption', utterance: 1, revision: 1, start_ms: id * 10, end_ms: 900, language: 'en', committed: `from ${request.channel} by ${request.device || 'default'}`, tail: '', final: true } });
      return id;
    },
  };
  const core = {
    invoke: async (/** @type {string} */ command, /** @type {any} */ args) => {
      asked.push([command, args]);
      return commands[command]?.(args);
    },
    Channel: class { onmessage = () => {}; },
  };
  const event = {
    emit: async (/** @type {string} */ name, /** @type {any} */ payload) => listening[name]?.forEach((told) => told({ payload })),
    listen: async (/** @type {string} */ name, /** @type {(event: { payload: any }) => void} */ told) => {
      (listening[name] ??= []).push(told);
      return () => {};
    },
  };
  Object.assign(globalThis, { __TAURI__: { core, event }, asked });
}

const desktop = await context.newPage();
desktop.on('pageerror', (error) => complaints.push(String(error)));
await desktop.addInitScript(tauri);
await desktop.goto(stub.url);
await desktop.getByText('Ctrl+Alt+C').waitFor();
await desktop.getByText('You stay signed in until Subtide is closed').waitFor();
await desktop.locator('#sound summary').click();
assert.deepEqual(await desktop.locator('#sources select:visible').evaluateAll((all) => all.map((each) => each.textContent)), ['System defaultUSB microphone', 'System defaultLoudspeakers']);
await desktop.locator('#device-them').selectOption('out');
await desktop.evaluate("__TAURI__.event.emit('command', 'toggle')");
for (const said of ['from me by default', 'from them by out']) await desktop.locator('#lines').getByText(said).waitFor();
assert.equal(await desktop.locator('#state').getAttribute('data-state'), 'open');
await desktop.evaluate("__TAURI__.event.emit('command', 'pause')");
await desktop.locator('#state[data-state=paused]').waitFor();
if (pictures) await desktop.screenshot({ path: join(pictures, 'desktop.png') });
const asked = /** @type {[string, any][]} */ (await desktop.evaluate(() => Reflect.get(globalThis, 'asked')));
assert.deepEqual(asked.filter(([command]) => command === 'pause_stream').map(([, args]) => args), [{ id: 1, paused: true }, { id: 2, paused: true }]);
assert.equal(asked.find(([command]) => command === 'set_words')?.[1].words['tray.history'], 'History');
assert.deepEqual([...complaints], []);
console.log('ok the desktop client by script');
await browser.close();
await new Promise((done) => { stub.drop(); stub.server.close(done); stub.server.closeAllConnections(); });
