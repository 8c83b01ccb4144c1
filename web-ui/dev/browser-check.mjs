/**
 * The page in a real browser with a fake microphone, against the stub server. Fails when something is not as it should
 * be; with a folder as argument it leaves pictures there to look at.
 *
 * `node dev/browser-check.mjs [FOLDER]`; CHROMIUM names the browser (default /usr/bin/chromium).
 */

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { serve } from './stub-server.mjs';

const pictures = process.argv[2];
const RATE = 16_000;
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Four seconds of a tone as a wav file. */
async function tone() {
  const samples = RATE * 4;
  const wav = Buffer.alloc(44 + samples * 2);
  wav.write('RIFF', 0);
  wav.writeUInt32LE(36 + samples * 2, 4);
  wav.write('WAVEfmt ', 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(RATE, 24);
  wav.writeUInt32LE(RATE * 2, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write('data', 36);
  wav.writeUInt32LE(samples * 2, 40);
  for (let i = 0; i < samples; i += 1) wav.writeInt16LE(Math.round(8000 * Math.sin((2 * Math.PI * 440 * i) / RATE)), 44 + i * 2);
  const path = join(await mkdtemp(join(tmpdir(), 'subtide-ui-')), 'tone.wav');
  await writeFile(path, wav);
  return path;
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${await tone()}`,
  ],
});

/**
 * @param {string} name @param {{ dark?: boolean, targets?: string[], width?: number, height?: number, refuse?: number, wordMs?: number, scale?: number, microphone?: boolean, stub?: import('./stub-server.mjs').Options }} options
 * @param {(page: import('playwright-core').Page, stub: Awaited<ReturnType<typeof serve>>, shot: (suffix?: string) => Promise<void>) => Promise<void>} check
 */
async function scene(name, { dark = false, targets = ['es'], width = 1100, height = 700, refuse = 0, wordMs = 60, scale, microphone = true, stub: more = {} }, check) {
  const stub = await serve({ refuse, wordMs, ...more });
  const context = await browser.newContext({ permissions: microphone ? ['microphone'] : [], colorScheme: dark ? 'dark' : 'light', viewport: { width, height } });
  const page = await context.newPage();
  /** @type {string[]} */
  const complaints = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.addInitScript((settings) => localStorage.getItem('subtide.settings') ?? localStorage.setItem('subtide.settings', settings), JSON.stringify({ targets, scale }));
  await page.goto(stub.url);
  const shot = async (suffix = '') => {
    if (pictures) await page.screenshot({ path: join(pictures, `${name}${suffix}.png`) });
    await page.evaluate(axe);
    const found = await page.evaluate('axe.run().then(({ violations }) => violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((n) => n.html).join(" | ")}`))');
    assert.deepEqual(found, [], `${name}${suffix}: axe finds faults`);
  };
  await check(page, stub, shot);
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(sideways, 0, `${name}: the page scrolls sideways`);
  const expected = refuse || more.signIn || more.forget || stub.dropped;
  assert.deepEqual(complaints.filter((text) => !expected || !/WebSocket|Failed to load resource/.test(text)), [], `${name}: the browser complains`);
  await context.close();
  await new Promise((done) => { stub.drop(); stub.server.close(done); stub.server.closeAllConnections(); });
  console.log(`ok ${name}`);
}

/** @param {import('playwright-core').Page} page @param {string} text */
const until = (page, text) => page.getByText(text).first().waitFor({ timeout: 30_000 });

await scene('empty', {}, async (page, _stub, shot) => {
  await until(page, 'Press Start and speak');
  await shot();
  await page.locator('#targets summary').click();
  await page.locator('#tag').fill('nonsense tag');
  await page.locator('#add button').click();
  assert.match(await page.locator('#tag-fault').innerText(), /not a BCP-47/);
  await page.locator('#tag').fill('PT-br');
  await page.keyboard.press('Enter');
  assert.match(await page.locator('#targets-summary').innerText(), /Español, Português/);
  await shot('-languages');
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#targets').getAttribute('open'), null);
  await page.reload();
  assert.match(await page.locator('#targets-summary').innerText(), /Español, Português/);
});

await scene('light', {}, async (page, stub, shot) => {
  await page.keyboard.press('Control+Enter');
  await until(page, 'the sea wall');
  await shot('-growing');
  assert.equal(await page.locator('#state-text').innerText(), 'Listening');
  assert.ok(Number(await page.locator('#meter').getAttribute('aria-valuenow')) > 30, 'the level meter moves');
  await until(page, 'hasta ahora?');
  await shot();
  assert.match(await page.locator('#lines').innerText(), /could not be captioned: the server had too much to do/);
  assert.match(await page.locator('#lag').innerText(), /3\.4 s behind/);
  assert.match(await page.locator('#latency-source').innerText(), /^\d+\.\d s$/);
  const announced = await page.locator('#announcer').innerText();
  assert.match(announced, /gracias por venir/);
  assert.doesNotMatch(announced, /Good morning/);
  await page.locator('#toggle').click();
  await until(page, 'Not listening');
  const { start, bytes, messages } = stub.received;
  assert.deepEqual(start.targets, ['es']);
  assert.equal(start.source, 'en');
  assert.equal(start.audio.channels, 1);
  assert.equal(messages.at(-1).type, 'stop');
  assert.equal(bytes % 2, 0);
  assert.ok(bytes > start.audio.sample_rate * 2, 'at least a second of sound arrived');
  const before = await page.locator('#lines > li').count();
  await page.locator('#toggle').click();
  await until(page, 'Listening');
  await page.waitForFunction((count) => document.querySelectorAll('#lines > li').length > count, before);
  await page.waitForTimeout(900);
  await shot('-second-session');
  stub.how.windowMs = 0;
  stub.how.refuse = 503;
  stub.drop();
  await until(page, 'Reconnecting');
  assert.match(await page.locator('#lag').innerText(), /is kept/);
  await shot('-reconnecting');
  stub.how.refuse = 0;
  await until(page, 'Listening');
  await page.waitForTimeout(200);
  assert.equal(await page.locator('#lag').innerText(), '');
  // That second connection was told that the session is kept no longer once it breaks.
  stub.drop();
  await until(page, 'The connection was lost');
  await shot('-lost');
});

await scene('signed-in', { stub: { signIn: true } }, async (page, stub, shot) => {
  await until(page, 'Sign in with Google, then press Start');
  assert.equal(await page.locator('#toggle').innerText(), 'Sign in');
  await shot('-before');
  await page.locator('#toggle').click();
  await until(page, 'Ana Example');
  assert.equal(await page.locator('#toggle').innerText(), 'Start');
  await shot();
  await page.reload();
  await until(page, 'Ana Example');
  await page.locator('#toggle').click();
  await until(page, 'the sea wall');
  await shot('-listening');
  stub.say({ type: 'warning', code: 'token_expiring', message: 'the token ends soon' });
  for (let n = 0; n < 50 && stub.received.auth.length === 0; n += 1) await page.waitForTimeout(50);
  assert.equal(stub.received.auth.length, 1);
  assert.equal(await page.locator('.notice').count(), 0, 'that is not the reader’s affair');
  const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  assert.ok(!stored.includes(String(stub.received.auth[0])), 'the token is in memory alone');
  const second = await page.context().newPage();
  await second.goto(stub.url);
  await second.getByText('Ana Example').waitFor();
  await second.locator('#sign-out').click();
  await second.getByText('Signed out', { exact: true }).waitFor();
  await page.locator('#person').waitFor({ state: 'hidden' });
  stub.close(4401);
  await until(page, 'Your sign-in has ended');
  await shot('-ended');
});

await scene('signed-in-narrow', { stub: { signIn: true }, width: 360, height: 720, dark: true }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'Ana Example');
  await page.locator('#toggle').click();
  await until(page, 'the sea wall');
  await shot();
});

await scene('not-resumed', { stub: { forget: true }, dark: true }, async (page, stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'the sea wall');
  stub.drop();
  await until(page, 'words said here may be missing');
  await page.waitForTimeout(1500);
  assert.equal(await page.locator('#state-text').innerText(), 'Listening');
  await shot();
});

await scene('quota', { refuse: 429, stub: { refuseCode: 'quota_exceeded', retryAfter: 5400 } }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'Today’s audio is used up');
  assert.match(await page.locator('.notice').innerText(), /Try again after \d/);
  await shot();
});

await scene('dark-rtl', { dark: true, targets: ['ar', 'es', 'zh'] }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'hasta ahora?');
  await until(page, '到目前为止有问题吗？');
  await page.waitForTimeout(200);
  assert.ok(await page.locator('#jump').isHidden(), 'the page stopped following by itself');
  await shot();
  const line = page.locator('.translation .words[lang=ar]').first();
  assert.equal(await line.evaluate((element) => getComputedStyle(element).direction), 'rtl');
});

await scene('scroll-back', { height: 420, scale: 4 }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'the sea wall');
  await page.locator('#scroller').hover();
  await page.mouse.wheel(0, -2000);
  await page.locator('#jump').waitFor();
  await until(page, 'Any questions so far?');
  assert.equal(await page.locator('#scroller').evaluate((element) => element.scrollTop), 0, 'the page moved under the reader');
  await shot();
  await page.locator('#jump').click();
  assert.ok(await page.locator('#jump').isHidden());
  await page.waitForFunction(() => {
    const element = /** @type {Element} */ (document.querySelector('#scroller'));
    return element.scrollHeight - element.scrollTop - element.clientHeight < 5;
  });
});

await scene('narrow', { width: 360, height: 720, targets: ['ar', 'es'], dark: true }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'hasta ahora?');
  assert.ok(await page.locator('#jump').isHidden(), 'the page stopped following by itself');
  await shot();
  await page.locator('#targets summary').click();
  await shot('-languages');
});

await scene('token', { refuse: 401 }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'asks for an access token');
  assert.equal(await page.locator('#toggle').innerText(), 'Start');
  await shot();
});

await scene('full', { refuse: 503, dark: true }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'The server is full');
  await shot();
});

await browser.close();
