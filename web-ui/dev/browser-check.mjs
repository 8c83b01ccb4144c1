/**
 * The page in a real browser with a fake microphone, against the stub server: what it does, and whether it can be read and
 * used by everybody, in every language and theme. Fails when something is not as it should be; with a folder as argument it
 * leaves pictures there to look at.
 *
 * `node dev/browser-check.mjs [FOLDER]`; CHROMIUM names the browser (default /usr/bin/chromium).
 */

import assert from 'node:assert/strict';
import { looks } from './looks.mjs';
import { Browser, until } from './scene.mjs';

const browser = await Browser.launch(process.argv[2]);

await browser.scene('empty', {}, async (page, _stub, shot) => {
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

await browser.scene('light', {}, async (page, stub, shot) => {
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
  assert.doesNotMatch(await page.locator('#lag').innerText(), /is kept/);
  // That second connection was told that the session is kept no longer once it breaks.
  stub.drop();
  await until(page, 'The connection was lost');
  await shot('-lost');
});

await browser.scene('signed-in', { stub: { signIn: true } }, async (page, stub, shot) => {
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

await browser.scene('signed-in-narrow', { stub: { signIn: true }, width: 360, height: 720, dark: true }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'Ana Example');
  await page.locator('#toggle').click();
  await until(page, 'the sea wall');
  await shot();
});

await browser.scene('not-resumed', { stub: { forget: true }, dark: true }, async (page, stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'the sea wall');
  stub.drop();
  await until(page, 'words said here may be missing');
  await page.waitForTimeout(1500);
  assert.equal(await page.locator('#state-text').innerText(), 'Listening');
  await shot();
});

await browser.scene('quota', { stub: { refuse: 429, refuseCode: 'quota_exceeded', retryAfter: 5400 } }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'Today’s audio is used up');
  assert.match(await page.locator('.notice').innerText(), /Try again after \d/);
  await shot();
});

await browser.scene('dark-rtl', { dark: true, settings: { targets: ['ar', 'es', 'zh'] } }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'hasta ahora?');
  await until(page, '到目前为止有问题吗？');
  await page.waitForTimeout(200);
  assert.ok(await page.locator('#jump').isHidden(), 'the page stopped following by itself');
  await shot();
  const line = page.locator('.translation .words[lang=ar]').first();
  assert.equal(await line.evaluate((element) => getComputedStyle(element).direction), 'rtl');
});

await browser.scene('scroll-back', { height: 420, settings: { scale: 4 } }, async (page, _stub, shot) => {
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

await browser.scene('narrow', { width: 360, height: 720, settings: { targets: ['ar', 'es'] }, dark: true }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'hasta ahora?');
  assert.ok(await page.locator('#jump').isHidden(), 'the page stopped following by itself');
  await shot();
  await page.locator('#targets summary').click();
  await shot('-languages');
});

await browser.scene('token', { stub: { refuse: 401 } }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'asks for an access token');
  assert.equal(await page.locator('#toggle').innerText(), 'Start');
  await shot();
});

await browser.scene('full', { stub: { refuse: 503 }, dark: true }, async (page, _stub, shot) => {
  await page.locator('#toggle').click();
  await until(page, 'The server is full');
  await shot();
});

await looks(browser);
await browser.close();
