/** Speaks the same twice: with a network that holds, and with one that is away for a while in mid-speech. */

import assert from 'node:assert/strict';
import { ask, figure, Frames, hearAll, person, signIn, state, tell, withBrowser } from './room.mjs';

/** An utterance in the middle of which the network goes away. */
const CUT_IN = 3;

await withBrowser(async (browser) => {
  for (const run of ['whole', 'cut']) {
    const context = await person(browser);
    const page = await context.newPage();
    const frames = new Frames(page);
    await signIn(page);
    await page.locator('#toggle').click();
    if (run === 'cut') {
      await frames.until('speech to cut', ({ type, utterance }) => type === 'caption' && utterance >= CUT_IN);
      await ask('cut');
      const cut = Date.now();
      await state(page, 'reconnecting');
      assert.match(await page.locator('#state').innerText(), /Reconnecting/);
      tell('said', await page.locator('#state').innerText());
      await ask('wait and mend');
      await state(page, 'open');
      figure('cut_to_open_ms', Date.now() - cut);
    }
    await hearAll(page, frames);
    assert.deepEqual(frames.gaps(), [], 'nothing was lost');
    const drawn = await page.locator('#lines > li.line .source .words').allInnerTexts();
    assert.deepEqual(drawn.map((text) => text.trim()), frames.finals().map(({ committed }) => committed), 'the page shows the finals');
    assert.equal(await page.locator('#lines > li.gap').count(), 0);
    tell(run, frames.finals());
    await context.close();
  }
});
