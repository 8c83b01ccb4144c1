/** Signs in, speaks, reads captions and a translation, stops, and takes them home as SubRip. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { figure, Frames, hearAll, given, person, signIn, state, tell, withBrowser } from './room.mjs';
import { exported } from './history.mjs';

/** @param {string} srt @returns {{ startMs: number, endMs: number, text: string }[]} */
function cues(srt) {
  const time = '(\\d{2,}):(\\d{2}):(\\d{2}),(\\d{3})';
  const times = new RegExp(`^${time} --> ${time}$`);
  return srt.replace(/^\uFEFF/, '').trim().split(/\r?\n\r?\n/).map((block, index) => {
    const [number, span, ...lines] = block.split(/\r?\n/);
    assert.equal(number, String(index + 1), 'cues are numbered from 1');
    const found = times.exec(span ?? '');
    assert.ok(found, `no times: ${span}`);
    const ms = (/** @type {number} */ at) => Number(found[at]) * 3_600_000 + Number(found[at + 1]) * 60_000 + Number(found[at + 2]) * 1000 + Number(found[at + 3]);
    return { startMs: ms(1), endMs: ms(5), text: lines.join(' ') };
  });
}

/** Cues of a long utterance are put together again. @param {ReturnType<typeof cues>} cues @param {any[]} finals */
function joined(cues, finals) {
  return finals.map((final) => {
    const own = cues.filter(({ startMs, endMs }) => (startMs + endMs) / 2 > final.start_ms && (startMs + endMs) / 2 < final.end_ms);
    const [from, to] = [own[0]?.startMs ?? NaN, own.at(-1)?.endMs ?? NaN];
    // The clock of the page is not kept in whole milliseconds.
    const same = Math.abs(from - final.start_ms) <= 1 && Math.abs(to - final.end_ms) <= 1;
    return { ...(same ? { startMs: final.start_ms, endMs: final.end_ms } : { startMs: from, endMs: to }), text: own.map(({ text }) => text).join(' ') };
  });
}

await withBrowser(async (browser) => {
  const context = await person(browser);
  const page = await context.newPage();
  const frames = new Frames(page);
  await signIn(page);
  await page.locator('#toggle').click();
  const pressed = Date.now();
  await page.locator('#lines > li.line .source .words', { hasText: /\w/ }).first().waitFor();
  figure('first_caption_ms', Date.now() - pressed - given.leadMs);
  await state(page, 'open');
  await page.locator('#lines > li.line .translation .words', { hasText: /\w/ }).first().waitFor();
  await hearAll(page, frames);

  const finals = frames.finals();
  tell('finals', finals);
  figure('finals_sent', finals.length);
  const drawn = await page.locator('#lines > li.line .source .words').allInnerTexts();
  assert.deepEqual(drawn.map((text) => text.trim()), finals.map(({ committed }) => committed), 'the page shows the finals');

  await page.locator('#open-history').click();
  for (const kind of ['source', 'es']) {
    const text = (/** @type {any} */ final) => (kind === 'source' ? final.committed : final.translations[kind]);
    const file = await exported(page, 'srt', kind);
    const took = cues(await readFile(file, 'utf8'));
    const wanted = finals.map((final) => ({ startMs: final.start_ms, endMs: final.end_ms, text: text(final) }));
    const back = joined(took, finals);
    if (kind === 'source') figure('srt_cues_equal', back.filter((cue, n) => isDeepStrictEqual(cue, wanted[n])).length);
    assert.deepEqual(back, wanted, `SubRip of ${kind}: the cues are the finals`);
    assert.equal(took.map(({ text }) => text).join(' '), wanted.map(({ text }) => text).join(' '), 'and nothing besides');
  }
  figure('srt_equals_finals', 1);
});
