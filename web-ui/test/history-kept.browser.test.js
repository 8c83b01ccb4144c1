/** What of a conversation is kept on the device, and what is not, in a real browser with a real IndexedDB. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scene, skip, until } from '../dev/history-scene.mjs';

test('nothing is kept unless it is asked for; what is kept is there after a reload, and goes when it should', { skip }, () => scene(async (page, again) => {
  const kept = () => page.evaluate("world.store.Store.open().then(async (store) => { const all = await store.list(); store.close(); return all.map(({ lines, sources, targets }) => ({ lines, sources, targets })); })");
  await page.evaluate('world.many(3); world.history.take(world.lines)');
  await page.waitForTimeout(1300);
  assert.deepEqual(await kept(), []);
  await page.locator('#keep').check();
  await until(async () => (await kept()).length === 1);
  await page.evaluate("world.lines.push(world.line(4, 'Unfinished', '', { final: false, live: true }), world.line(5, 'Zebra crossing.', 'Paso de cebra.')); world.draw()");
  await until(async () => (await kept())[0].lines === 4);
  assert.deepEqual(await kept(), [{ lines: 4, sources: ['en'], targets: ['es'] }]);

  await again();
  await page.evaluate("world.settings.keepHistory = true; world.history.settingsChanged(); world.began += 864e5; world.lines = [world.line(1, 'Another day.', 'Otro día.')]; world.draw()");
  await page.locator('#open-history').click();
  await page.locator('.conversation').nth(1).waitFor();
  await page.locator('#history-search').fill('cebra');
  await page.locator('.hit').click();
  await page.locator('#history-lines li.shown').waitFor();
  assert.ok(await page.locator('#history-lines li.shown').evaluate((line) => line === document.activeElement));
  assert.equal(await page.locator('.conversation').nth(1).getAttribute('aria-current'), 'true');
  await page.locator('button[data-export="txt"]').click();
  await until(() => page.evaluate('world.saved.length === 1'));
  assert.match(await page.evaluate('world.saved[0].text'), /Zebra crossing\.\n$/);
  await page.keyboard.press('Escape');

  await page.locator('#keep').evaluate((box) => { /** @type {HTMLInputElement} */ (box).checked = true; });
  await page.locator('#keep').uncheck();
  const question = page.locator('dialog.ask');
  assert.match(await question.innerText(), /no longer kept\. Delete those .*\(2\)\?/);
  await question.getByText('Keep', { exact: true }).click();
  assert.equal((await kept()).length, 2);
  await page.locator('#open-history').click();
  await page.locator('.remove').last().click();
  await question.getByText('Delete', { exact: true }).click();
  await page.locator('.conversation').nth(1).waitFor({ state: 'detached' });
  assert.deepEqual((await kept()).map((/** @type {{ lines: number }} */ { lines }) => lines), [1]);
  await page.keyboard.press('Escape');
  await page.locator('#keep').check();
  await page.locator('#keep').uncheck();
  await question.getByText('Delete', { exact: true }).click();
  await until(async () => (await kept()).length === 0);
}));

test('lines that finish out of order are kept in the order they began', { skip }, () => scene(async (page) => {
  const order = () => page.evaluate("world.store.Store.open().then(async (store) => { const [first] = await store.list(); const lines = first ? await store.lines(first.id) : []; store.close(); return lines.map(({ committed }) => committed).join(' '); })");
  await page.locator('#keep').check();
  await page.evaluate("world.open = { final: false, live: true }; world.lines = [world.line(1, 'a', '', world.open), world.line(2, 'b', ''), world.line(3, 'c', '', world.open), world.line(4, 'd', '')]; world.draw()");
  await until(async () => (await order()) === 'b d');
  await page.evaluate("world.lines = ['a', 'b', 'c', 'd'].map((text, index) => world.line(index + 1, text, '')); world.draw()");
  await until(async () => (await order()).length === 7);
  assert.equal(await order(), 'a b c d');
}));

test('what was said while keeping was off in between is never kept, nor what was deleted', { skip }, () => scene(async (page) => {
  const kept = () => page.evaluate("world.store.Store.open().then(async (store) => { const all = await store.list(); const lines = await Promise.all(all.map(({ id }) => store.lines(id))); store.close(); return all.map(({ lines: count }, index) => `${count}: ${lines[index].map(({ committed, translations }) => committed + translations.map((each) => each.committed).join('')).join(' ')}`); })");
  const question = page.locator('dialog.ask');
  const pass = () => page.evaluate('new Promise((done) => setTimeout(done, 1300))');
  await page.evaluate("world.say = (n, text, more) => { world.lines = [...world.lines.filter(({ utterance }) => utterance !== n), world.line(n, text, '', more)].sort((a, b) => a.utterance - b.utterance); world.draw(); }; world.open = { final: false, live: true }; world.say(1, 'before')");
  await page.locator('#keep').check();
  await until(async () => (await kept())[0] === '1: before');
  await page.locator('#keep').uncheck();
  await question.getByText('Keep', { exact: true }).click();
  await page.evaluate("world.say(2, 'private'); world.say(3, 'half', world.open)");
  await pass();
  await page.evaluate("world.say(4, 'secret')");
  await page.locator('#keep').check();
  await pass();
  await page.evaluate("world.say(2, 'private', { translations: [{ target: 'es', committed: 'privado', tail: '', final: true, waiting: false }] }); world.say(3, 'half and half'); world.say(5, 'after')");
  await until(async () => /after/.test((await kept())[0]));
  assert.deepEqual(await kept(), ['2: before after']);

  // The conversation of this page can be deleted, and nothing brings it back.
  await page.locator('#open-history').click();
  await page.locator('.remove').click();
  await question.getByText('Delete', { exact: true }).click();
  await page.locator('.remove').waitFor({ state: 'detached' });
  assert.deepEqual(await kept(), []);
  assert.ok(await page.getByText('Delete all kept conversations…').isHidden());
  await page.evaluate("world.say(5, 'after', { translations: [{ target: 'es', committed: 'más tarde', tail: '', final: true, waiting: false }] })");
  await pass();
  assert.deepEqual(await kept(), []);
  await page.evaluate("world.say(6, 'new')");
  await page.locator('.remove').waitFor();
  assert.deepEqual(await kept(), ['1: new']);
  await page.getByText('Delete all kept conversations…').click();
  await question.getByText('Delete', { exact: true }).click();
  await until(async () => (await kept()).length === 0);
}));

test('the newest two hundred conversations are kept, and the lines of the others go with them', { skip }, () => scene(async (page) => {
  const found = await page.evaluate(`(async () => { const store = await world.store.Store.open('bound');
    for (let n = 0; n < 205; n += 1) await store.keep({ id: 'c' + n, beganMs: (n * 7919) % 205, lastsMs: 1, sources: [], targets: [], lines: 1 }, [{ place: 0, line: world.line(n, 'x', 'y') }]);
    const all = await store.list(); let lines = 0;
    for (let n = 0; n < 205; n += 1) lines += (await store.lines('c' + n)).length;
    const counts = { all: all.length, lines, sorted: all.every(({ beganMs }, index) => index === 0 || beganMs < all[index - 1].beganMs), newest: all[0].beganMs };
    await store.clear(); const cleared = (await store.list()).length + (await store.lines('c9')).length; store.close(); return { ...counts, cleared }; })()`);
  assert.deepEqual(found, { all: 200, lines: 200, sorted: true, newest: 204, cleared: 0 });
}));
