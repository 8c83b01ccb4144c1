/**
 * Every page as it looks: settings, history, overlay and the caption page in its states; in light and dark, from left to
 * right and from right to left, from a phone to a wall. axe finds nothing, nothing is cut off, nothing lies over another.
 *
 * @import { Page } from 'playwright-core'
 * @import { Browser } from './scene.mjs'
 */

import assert from 'node:assert/strict';
import { CATALOGUES } from '../page/words/t.js';
import { until } from './scene.mjs';

const LANGUAGES = Object.keys(CATALOGUES);
const SIZES = [[320, 640], [768, 900], [1280, 800], [3840, 2160]];

/** @param {string} language @param {import('../page/words/t.js').Key} key */
function word(language, key) {
  return CATALOGUES[language]?.[key] ?? '';
}

/** @param {Browser} browser */
export async function looks(browser) {
  await chosen(browser);
  await overlay(browser);
  await keys(browser);
  for (const locale of ['en', 'ar']) for (const dark of [false, true]) await states(browser, locale, dark);
  for (const locale of LANGUAGES) for (const [width = 0, height = 0] of SIZES) await fits(browser, locale, width, height);
}

/** Settings apply at once, are kept, and reach other windows. @param {Browser} browser */
async function chosen(browser) {
  await browser.scene('settings-chosen', {}, async (page, stub, shot) => {
    await page.keyboard.press('Control+,');
    const dialog = page.locator('#settings');
    const root = page.locator('html');
    for (const name of ['Dark', 'High', 'Translation only']) await dialog.getByRole('radio', { name, exact: true }).check();
    await dialog.getByLabel('Typeface').selectOption('serif');
    assert.deepEqual(await root.evaluate(({ dataset: { theme, contrast, font, layout } }) => [theme, contrast, font, layout]), ['dark', 'high', 'serif', 'target']);
    await dialog.getByText('Add a term').click();
    await page.keyboard.type('Subtide');
    await page.keyboard.press('Tab');
    await page.keyboard.type('Submarea');
    await page.keyboard.press('Tab');
    await shot();
    const second = await page.context().newPage();
    await second.goto(stub.url);
    assert.equal(await second.locator('html').getAttribute('data-theme'), 'dark');
    await dialog.locator('select').filter({ hasText: 'العربية' }).selectOption('ar');
    assert.equal(await root.getAttribute('dir'), 'rtl');
    await second.locator('html[dir=rtl]').waitFor();
    assert.equal(await second.locator('#toggle').innerText(), word('ar', 'page.start'));
    await page.reload();
    assert.equal(await page.locator('#state-text').innerText(), word('ar', 'page.phase.idle'));
    const kept = await page.evaluate(() => JSON.parse(localStorage.getItem('subtide.settings') ?? ''));
    assert.deepEqual(kept.glossary, [{ term: 'Subtide', translations: { es: 'Submarea' } }]);
    await page.locator('#toggle').click();
    await until(page, word('ar', 'page.phase.open'));
    assert.equal(stub.received.start.targets[0], 'es');
  });
}

/** The overlay shows what the page shows, as its address says, on nothing. @param {Browser} browser */
async function overlay(browser) {
  await browser.scene('overlay', { complains: /there is no option nonsense/ }, async (page, stub, shot) => {
    const over = await page.context().newPage();
    /** @type {string[]} */
    const said = [];
    over.on('console', (message) => said.push(message.text()));
    await over.setViewportSize({ width: 1280, height: 360 });
    await over.goto(`${stub.url}/overlay/index.html?lines=2&size=34&nonsense=1`);
    await until(over, 'Waiting for captions');
    await shot('-waiting', over);
    assert.match(said.join(), /no option nonsense/);
    await page.bringToFront();
    await page.locator('#toggle').click();
    await until(page, 'hasta ahora?');
    await over.locator('#overlay-lines .line').filter({ hasText: 'hasta ahora?' }).waitFor();
    const newest = (await page.locator('#lines > li.line').last().locator('.source .words').innerText()).trim();
    assert.equal((await over.locator('#overlay-lines > li.line:not(.leaving)').last().locator('.source .words').innerText()).trim(), newest);
    await over.bringToFront();
    await shot('', over);
    const picture = await over.screenshot({ omitBackground: true, clip: { x: 0, y: 0, width: 1, height: 1 } });
    const alpha = await over.evaluate(async (bytes) => {
      const image = await createImageBitmap(new Blob([new Uint8Array(bytes)], { type: 'image/png' }));
      const context = new OffscreenCanvas(1, 1).getContext('2d');
      context?.drawImage(image, 0, 0);
      return context?.getImageData(0, 0, 1, 1).data[3];
    }, [...picture]);
    assert.equal(alpha, 0, 'there is something behind the captions');
  });
  await browser.scene('overlay-listening', { dark: true, complains: /WebSocket|Failed to load/ }, async (page, stub, shot) => {
    const alone = await page.context().newPage();
    await alone.setViewportSize({ width: 1280, height: 360 });
    await alone.goto(`${stub.url}/overlay/index.html?listen=me&targets=es&layout=target&background=none`);
    await alone.locator('#overlay-lines .translation').filter({ hasText: 'hasta ahora?' }).waitFor({ timeout: 30_000 });
    await shot('', alone);
    stub.close(4503);
    await alone.locator('.aside').filter({ hasText: /./ }).waitFor();
    await alone.locator('#overlay-lines .translation').filter({ hasText: 'Buenos días' }).first().waitFor({ timeout: 30_000 });
  });
}

/** Everything can be reached and seen by keyboard, and dialogs give the focus back. @param {Browser} browser */
async function keys(browser) {
  await browser.scene('keyboard', {}, async (page) => {
    const missed = await unreached(page);
    assert.deepEqual(missed, [], 'not reached by Tab');
    for (const [press, id] of [['Control+,', 'settings'], ['Control+Shift+KeyH', 'history']]) {
      await page.locator(`#open-${id}`).focus();
      await page.keyboard.press(press ?? '');
      await page.locator(`#${id}[open]`).waitFor();
      assert.deepEqual(await unreached(page), [], `${id}: not reached by Tab`);
      await page.keyboard.press('Escape');
      assert.equal(await page.evaluate(() => document.activeElement?.id), `open-${id}`);
    }
    await page.keyboard.press('Control+Enter');
    await until(page, 'Listening');
    await page.keyboard.press('Control+Shift+Space');
    await until(page, 'Paused');
    await page.keyboard.press('Control+Shift+Space');
    await until(page, 'Listening');
    await page.keyboard.press('Control+Enter');
    await until(page, 'Not listening');
  });
}

/** @param {Page} page @returns {Promise<string[]>} what is enabled and was not reached, or shows no focus */
async function unreached(page) {
  const wanted = await page.evaluate(() => {
    const scope = document.querySelector('dialog[open]') ?? document;
    const all = [...scope.querySelectorAll('button, select, input, summary, a[href], [tabindex="0"]')].filter((element) => element.checkVisibility() && !element.matches(':disabled'));
    // Of a group of radio buttons Tab reaches one.
    const able = all.filter((element) => !(element instanceof HTMLInputElement) || element.type !== 'radio' || element.checked);
    able.forEach((element, index) => element.setAttribute('data-able', String(index)));
    return able.length;
  });
  const seen = new Set();
  /** @type {string[]} */
  const dull = [];
  for (let n = 0; n < wanted + 8; n += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      const ring = element?.closest('.pill') ?? element;
      return element && ring && { able: element.getAttribute('data-able'), ring: getComputedStyle(ring).outlineStyle, html: element.outerHTML.slice(0, 80) };
    });
    if (at?.able) seen.add(at.able);
    if (at?.able && at.ring === 'none') dull.push(`no focus is seen on ${at.html}`);
  }
  const missed = await page.evaluate((reached) => [...document.querySelectorAll('[data-able]')].filter((element) => element.checkVisibility() && !element.matches(':disabled') && !reached.includes(element.getAttribute('data-able') ?? '')).map((element) => element.outerHTML.slice(0, 100)), [...seen]);
  await page.evaluate(() => document.querySelectorAll('[data-able]').forEach((element) => element.removeAttribute('data-able')));
  return [...missed, ...dull];
}

/** The caption page signed out, idle, live and failed; settings; history. @param {Browser} browser @param {string} locale @param {boolean} dark */
async function states(browser, locale, dark) {
  const say = (/** @type {import('../page/words/t.js').Key} */ key) => word(locale, key);
  await browser.scene(`look-${locale}-${dark ? 'dark' : 'light'}`, { locale, dark, stub: { signIn: true } }, async (page, stub, shot) => {
    await page.locator('#state[data-state=signed_out]').waitFor();
    await shot('-signed-out');
    await page.locator('#toggle').click();
    await until(page, 'Ana Example');
    await shot('-idle');
    await page.locator('#toggle').click();
    await until(page, 'hasta ahora?');
    await shot('-live');
    await page.locator('#pause').click();
    await page.locator('#state[data-state=paused]').waitFor();
    await shot('-paused');
    await page.locator('#open-settings').click();
    await shot('-settings');
    for (const id of ['settings.overlay', 'settings.keys']) {
      await page.getByRole('heading', { name: word(locale, /** @type {'settings.keys'} */ (id)), exact: true }).scrollIntoViewIfNeeded();
      await shot(`-${id.replace('.', '-')}`);
    }
    await page.getByRole('button', { name: say('settings.close') }).click();
    await page.locator('#open-history').click();
    await page.locator('#history[open]').waitFor();
    await shot('-history');
    await page.keyboard.press('Escape');
    for (const drop of ['sound', 'targets']) {
      await page.locator(`#${drop} summary`).click();
      await shot(`-${drop}`);
      await page.keyboard.press('Escape');
    }
    stub.say({ type: 'error', code: 'unavailable', message: 'the words of a server', retryable: true, retry_after_ms: 3000, trace_id: 'abc' });
    await page.locator('#toggle').click();
    await page.locator('#state[data-state=idle]').waitFor();
    stub.how.refuse = 503;
    await page.locator('#toggle').click();
    await page.locator('#state[data-state=failed]').waitFor();
    await shot('-failed');
    await page.goto(`${stub.url}/privacy/index.html`);
    await shot('-privacy');
  });
}

/** @param {Browser} browser @param {string} locale @param {number} width @param {number} height */
async function fits(browser, locale, width, height) {
  await browser.scene(`fit-${locale}-${width}`, { locale, width, height, dark: width < 1000, settings: { targets: ['ar', 'hi', 'zh'] } }, async (page, _stub, shot) => {
    await page.locator('#toggle').click();
    await until(page, 'Any questions so far?');
    await shot();
    await page.locator('#open-settings').click();
    await shot('-settings');
  });
}
