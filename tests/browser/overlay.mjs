/** The overlay of OBS and of projectors, in a window of its own beside the page. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { figure, Frames, given, hearAll, person, signIn, state, withBrowser } from './room.mjs';

/** As somebody types them into a browser source. */
const OPTIONS = 'lines=2&size=40&color=ffffff&position=bottom&outline=1';
const SIZE = { width: 1280, height: 360 };

/** The pixels of a picture: how opaque each corner is, and how many of all are. @param {import('playwright-core').BrowserContext} context @param {Buffer} png */
async function opacity(context, png) {
  const page = await context.newPage();
  const found = await page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const { width, height } = bitmap;
    const canvas = new OffscreenCanvas(width, height).getContext('2d');
    if (!canvas) throw new Error('no canvas');
    canvas.drawImage(bitmap, 0, 0);
    const { data } = canvas.getImageData(0, 0, width, height);
    const alpha = (/** @type {number} */ x, /** @type {number} */ y) => data[(y * width + x) * 4 + 3];
    const corners = [alpha(0, 0), alpha(width - 1, 0), alpha(0, height - 1), alpha(width - 1, height - 1)];
    return { corners, opaque: data.filter((value, at) => at % 4 === 3 && value > 200).length / (width * height) };
  }, png.toString('base64'));
  await page.close();
  return found;
}

/** Waits until the overlay shows what the page's last line says. @param {import('playwright-core').Page} page @param {import('playwright-core').Page} overlay @param {string} part */
async function same(page, overlay, part) {
  const text = async () => (await page.locator(`#lines > li.line ${part}`).last().innerText()).trim();
  const deadline = Date.now() + 60_000;
  for (;;) {
    const wanted = await text();
    const drawn = await overlay.locator('#overlay-lines').innerText();
    if (wanted && drawn.includes(wanted)) return;
    assert.ok(Date.now() < deadline, `the overlay shows \`${drawn}\`, and the page \`${wanted}\``);
    await overlay.waitForTimeout(50);
  }
}

await withBrowser(async (browser) => {
  const context = await person(browser, { reducedMotion: 'reduce' });
  const page = await context.newPage();
  const frames = new Frames(page);
  await signIn(page);
  const overlay = await context.newPage();
  await overlay.setViewportSize(SIZE);
  const answer = await overlay.goto(`${given.url}/overlay?${OPTIONS}`);
  assert.equal(answer?.status(), 200);
  assert.ok(overlay.url().endsWith(`?${OPTIONS}`), 'the options outlive the redirect');
  await page.locator('#toggle').click();
  await state(page, 'open');
  // While words still grow, in a page that is not in front.
  await overlay.bringToFront();
  await frames.until('words', ({ type, committed, tail }) => type === 'caption' && `${committed}${tail}` !== '');
  await overlay.locator('#overlay-lines').filter({ hasText: /\w/ }).first().waitFor();
  await hearAll(page, frames);
  await same(page, overlay, '.source .words');
  await same(page, overlay, '.translation .words');

  const drawn = await overlay.locator('#overlay-lines').innerText();
  const finals = frames.finals();
  const early = finals.slice(0, -2).filter(({ committed }) => drawn.includes(committed));
  assert.deepEqual(early, [], 'two lines are shown, as asked');
  const png = await overlay.screenshot({ omitBackground: true });
  if (given.pictures) await writeFile(join(given.pictures, 'overlay-transparent.png'), png);
  const { corners, opaque } = await opacity(context, png);
  assert.deepEqual([corners[0], corners[1]], [0, 0], 'the corners above the text are transparent');
  assert.ok(opaque > 0.005, `there is text: ${opaque}`);
  figure('overlay_opaque_share', opaque);

  const late = await context.newPage();
  await late.goto(`${given.url}/overlay/?${OPTIONS}`);
  await same(page, late, '.source .words');
});
