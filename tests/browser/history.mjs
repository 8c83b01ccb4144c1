/** The history, as far as scripts use it. */

/**
 * Exports the present conversation.
 * @param {import('playwright-core').Page} page with the history open
 * @param {'srt' | 'vtt' | 'txt' | 'json'} format
 * @param {string} which `source`, a target, or both with a space between
 * @returns {Promise<string>} path of the file
 */
export async function exported(page, format, which) {
  await page.locator('#history-languages').selectOption(which);
  const download = page.waitForEvent('download');
  await page.locator(`#history button[data-export="${format}"]`).first().click();
  return (await download).path();
}
