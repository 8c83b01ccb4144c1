/** The history, as far as scripts use it. */

/**
 * Exports the present conversation.
 * @param {import('playwright-core').Page} page with the history open
 * @param {'srt' | 'vtt' | 'txt' | 'json'} format
 * @param {string} which `source`, a target or `both`
 * @returns {Promise<string>} path of the file
 */
export async function exported(page, format, which) {
  const choice = page.locator('#history select').filter({ has: page.locator(`option[value="${which}"]`) });
  if (await choice.count()) await choice.first().selectOption(which);
  const download = page.waitForEvent('download');
  await page.locator(`#history button[data-export="${format}"]`).first().click();
  return (await download).path();
}
