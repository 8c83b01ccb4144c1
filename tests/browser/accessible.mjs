/** Every page in both themes, in English and in Arabic, before axe-core, and by the keyboard alone. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ask, figure, Frames, given, person, signIn, state, withBrowser } from './room.mjs';
import { visit, walk } from './keyboard.mjs';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const GRAVE = ['serious', 'critical'];

/** @typedef {import('playwright-core').Page} Page */

/** @type {string[]} */
const grave = [];
/** @type {string[]} */
const slight = [];
/** @type {string[]} */
const unreachable = [];
let looks = 0;
let controls = 0;

/** Both themes of what a page shows now. @param {Page} page @param {string} scene */
async function look(page, scene) {
  for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    if (!(await page.evaluate('"axe" in globalThis'))) await page.evaluate(AXE);
    const found = /** @type {{ id: string, impact: string, html: string[] }[]} */ (
      await page.evaluate('axe.run().then(({ violations }) => violations.map(({ id, impact, nodes }) => ({ id, impact, html: nodes.map((n) => n.html + " " + n.any.map((a) => a.message).join("; ")) })))')
    );
    for (const { id, impact, html } of found) (GRAVE.includes(impact) ? grave : slight).push(`${scene}, ${colorScheme}: ${impact} ${id}: ${html.slice(0, 3).join(' | ')}`);
    if (given.pictures) await page.screenshot({ path: join(given.pictures, `axe-${scene.replace(' ', '-')}-${colorScheme}.png`) });
    looks += 1;
  }
}

/** @param {Page} page @param {string} scene */
async function tab(page, scene) {
  const walked = await walk(page);
  controls += walked.controls;
  unreachable.push(...walked.unreachable.map((name) => `${scene}: ${name} never gets the focus`));
  unreachable.push(...walked.unmarked.map((name) => `${scene}: ${name} does not show its focus`));
}

/** What stands beside the page. @param {Page} page @param {string} path @param {string} scene */
async function beside(page, path, scene) {
  const other = await page.context().newPage();
  const answer = await other.goto(`${given.url}${path}`);
  assert.equal(answer?.status(), 200, path);
  await look(other, scene);
  await tab(other, scene);
  await other.close();
}

/** @param {import('playwright-core').Browser} browser @param {string} language */
async function everything(browser, language) {
  const context = await person(browser, { locale: language, reducedMotion: 'reduce' });
  const page = await context.newPage();
  const frames = new Frames(page);
  const scene = (/** @type {string} */ name) => `${language} ${name}`;
  await page.goto(given.url);
  await state(page, 'signed_out');
  assert.ok((await page.locator('html').getAttribute('lang'))?.startsWith(language), `the page speaks ${language}`);
  await look(page, scene('signed-out'));
  await tab(page, scene('signed-out'));
  await signIn(page);
  await look(page, scene('idle'));
  await tab(page, scene('idle'));
  const panels = page.locator('main details > summary, footer details > summary');
  for (let n = 0; n < (await panels.count()); n += 1) {
    await panels.nth(n).focus();
    await page.keyboard.press('Enter');
    await look(page, scene(`panel-${n}`));
    await tab(page, scene(`panel-${n}`));
    await panels.nth(n).focus();
    await page.keyboard.press('Escape');
    await page.locator('footer details[open]').waitFor({ state: 'detached' });
  }
  for (const dialog of ['settings', 'history']) {
    await visit(page, `#open-${dialog}`, `#${dialog}`, async () => {
      await look(page, scene(dialog));
      await tab(page, scene(dialog));
    });
  }
  await page.locator('#toggle').click();
  await frames.until('a final translation', ({ type, final }) => type === 'translation' && final);
  await look(page, scene('live'));
  await tab(page, scene('live'));
  await visit(page, '#open-history', '#history', async () => look(page, scene('history-live')));
  await beside(page, '/overlay/', scene('overlay'));
  await beside(page, '/privacy/', scene('privacy'));
  await page.bringToFront();
  await page.locator('#toggle').click();
  await state(page, 'idle');
  await ask('cut');
  await page.locator('#toggle').click();
  await state(page, 'failed');
  await page.locator('#notices').filter({ hasText: /\S/ }).waitFor();
  await look(page, scene('failed'));
  await tab(page, scene('failed'));
  await ask('mend');
  await context.close();
}

await withBrowser(async (browser) => {
  for (const language of ['en', 'ar']) await everything(browser, language);
  if (slight.length) console.error(`axe, neither serious nor critical:\n  ${slight.join('\n  ')}`);
  figure('axe_serious', grave.length);
  figure('axe_slight', slight.length);
  figure('axe_scenes', looks);
  figure('controls_unreachable', unreachable.length);
  figure('controls_walked', controls);
  assert.equal(grave.length, 0, `axe finds faults:\n  ${grave.join('\n  ')}`);
  assert.equal(unreachable.length, 0, `the keyboard does not do everything:\n  ${unreachable.join('\n  ')}`);
});
