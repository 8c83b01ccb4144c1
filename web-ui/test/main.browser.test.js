/**
 * The whole page in a real browser: what main.js alone decides. Skipped where there is no Chromium (CHROMIUM names one;
 * default /usr/bin/chromium), unless CI is set.
 */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { serve } from '../dev/stub-server.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const absent = !existsSync(CHROMIUM) && !process.env.CI;
const skip = absent ? `no browser at ${CHROMIUM}: install Chromium, or name one in CHROMIUM` : false;
if (absent) console.error(`SKIPPED: ${skip}`);

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  if (skip) return;
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--headless', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream'] });
});
after(() => browser?.close());

/** @param {object} options of the stub @param {(page: import('playwright-core').Page, stub: any) => Promise<void>} check */
async function scene(options, check) {
  const stub = await serve({ wordMs: 20, ...options });
  const context = await browser.newContext({ permissions: ['microphone'] });
  try {
    await check(await context.newPage(), stub);
  } finally {
    await context.close();
    stub.server.closeAllConnections();
    await new Promise((done) => stub.server.close(done));
  }
}

/** @param {import('playwright-core').Page} page @param {string} phase */
const inPhase = (page, phase) => page.waitForSelector(`#state[data-state="${phase}"]`);

test('whether there is sign-in is asked again at Start, where it could not be asked before', { skip }, () => scene({ signIn: true }, async (page, { url }) => {
  await page.route('**/auth/config', (route) => route.fulfill({ status: 503 }), { times: 1 });
  await page.goto(url);
  await page.waitForLoadState('networkidle');
  await inPhase(page, 'idle');
  await page.click('#toggle');
  await inPhase(page, 'signed_out');
}));

/** The desktop client's side of the page: it keeps what it is told, and says what the test has it say. */
function program() {
  const world = { told: /** @type {any} */ (null), shown: /** @type {any} */ (null) };
  const answers = /** @type {Record<string, (args: any) => any>} */ ({
    person: () => ({ offered: false, person: null, provider: '', unclear: false }),
    devices: () => [],
    notices: () => [],
    open_stream: ({ told }) => {
      world.told = told;
      return 1;
    },
  });
  class Channel {
    onmessage = () => {};
  }
  const core = { invoke: async (/** @type {string} */ command, /** @type {any} */ args) => answers[command]?.(args) ?? null, Channel };
  const emit = async (/** @type {string} */ _name, /** @type {any} */ payload) => {
    if (Array.isArray(payload?.lines)) world.shown = payload;
  };
  Object.assign(globalThis, { world, __TAURI__: { core, event: { emit, listen: async () => () => {} } } });
}

test('sound that comes late into a pause does not take the pause away', { skip }, () => scene({}, async (page, { url }) => {
  const BEGUN = 1_795_285_800_000;
  await page.clock.install({ time: BEGUN });
  await page.addInitScript(program);
  await page.goto(url);
  await page.click('#toggle');
  await page.waitForFunction('world.told');
  /** @param {object} message */
  const tell = (message) => page.evaluate((said) => world.told.onmessage(said), message);
  const limits = { max_message_bytes: 65536, max_targets: 4, max_utterance_ms: 20000, idle_timeout_ms: 600000 };
  await tell({ type: 'state', state: 'open' });
  await tell({ type: 'event', event: { event: 1, type: 'started', session: 's', resume_token: 't', resumed: false, audio_ms: 0, limits } });
  await page.clock.setFixedTime(BEGUN + 1000);
  await tell({ type: 'level', peak: 0.5, heard_ms: 1000 });
  await page.click('#pause');
  await tell({ type: 'level', peak: 0.5, heard_ms: 1050 });
  // Shorter than what is taken for sleep.
  await page.clock.setFixedTime(BEGUN + 9000);
  await page.click('#pause');
  await page.clock.setFixedTime(BEGUN + 9100);
  await tell({ type: 'level', peak: 0.5, heard_ms: 1150 });
  await tell({ type: 'event', event: { event: 2, type: 'caption', utterance: 1, revision: 1, start_ms: 1100, end_ms: 1150, language: 'en', committed: 'Back.', tail: '', final: true } });
  const [line] = await page.evaluate('world.shown.lines');
  assert.ok(line.atMs >= BEGUN + 9000, `spoken after the pause, told as ${line.atMs - BEGUN} ms`);
}));
