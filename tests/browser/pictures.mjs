/**
 * Pictures for the documentation: what the page looks like in each of its languages, light and dark. The server is the
 * stand-in of web-ui/dev, so that they are the same each time: `web-SCENE-LANGUAGE-THEME.png` in the folder given.
 */

import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { serve } from '../../web-ui/dev/stub-server.mjs';
import { figure, given, known, person, state, withBrowser } from './room.mjs';

/** Enough for text on plain grounds, and a third of the bytes. */
const COLOURS = '64';
const SIZE = { width: 1200, height: 720 };
const OVERLAY = { width: 1200, height: 300 };
/** What an overlay lies over. */
const GROUNDS = {
  light: 'repeating-linear-gradient(60deg, #f4e7c5 0 60px, #cfe3ea 60px 120px, #ffffff 120px 180px)',
  dark: 'repeating-linear-gradient(60deg, #24313f 0 60px, #4a2f45 60px 120px, #101418 120px 180px)',
};
/** Each language of the page reads English speech in its own; English reads Spanish. */
const READS = { en: 'es', es: 'es', ar: 'ar', hi: 'hi', zh: 'zh' };
/** Looked for in the history. */
const WORD = 'library';

const spoken = (/** @type {string} */ text, /** @type {Record<string, string>} */ translations) => ({ after: 250, text, language: 'en', translations });
const SCRIPT = [
  spoken('Good morning everyone, and thank you for coming.', {
    es: 'Buenos días a todos y gracias por venir.',
    ar: 'صباح الخير جميعًا، وشكرًا لحضوركم.',
    hi: 'सभी को सुप्रभात, और आने के लिए धन्यवाद।',
    zh: '大家早上好，感谢各位的到来。',
  }),
  spoken('The new library opens in March, two months earlier than planned.', {
    es: 'La nueva biblioteca abre en marzo, dos meses antes de lo previsto.',
    ar: 'تُفتتح المكتبة الجديدة في مارس، قبل شهرين من الموعد المقرر.',
    hi: 'नया पुस्तकालय मार्च में खुलेगा, तय समय से दो महीने पहले।',
    zh: '新图书馆将于三月开放，比原计划提前两个月。',
  }),
  spoken('We still need volunteers for the first week.', {
    es: 'Todavía necesitamos voluntarios para la primera semana.',
    ar: 'ما زلنا بحاجة إلى متطوعين في الأسبوع الأول.',
    hi: 'पहले सप्ताह के लिए हमें अब भी स्वयंसेवक चाहिए।',
    zh: '第一周我们仍然需要志愿者。',
  }),
  spoken('If you would like to help, please write to Maria before Friday.', {
    es: 'Si quiere ayudar, escriba a María antes del viernes, por favor.',
    ar: 'إذا كنت ترغب في المساعدة، فيُرجى الكتابة إلى ماريا قبل يوم الجمعة.',
    hi: 'अगर आप मदद करना चाहते हैं, तो कृपया शुक्रवार से पहले मारिया को लिखें।',
    zh: '如果您愿意帮忙，请在星期五之前写信给玛丽亚。',
  }),
];

/** @param {import('playwright-core').Page} page @param {string} scene @param {string} language */
async function both(page, scene, language) {
  for (const theme of /** @type {const} */ (['light', 'dark'])) {
    await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
    if (scene === 'overlay') await page.evaluate((ground) => (document.documentElement.style.background = ground), GROUNDS[theme]);
    const path = join(given.pictures ?? '', `web-${scene}-${language}-${theme}.png`);
    await page.screenshot({ path, animations: 'disabled', caret: 'hide' });
    taken.push(path);
  }
}

/** Fewer bytes. Without ImageMagick they are only larger. @param {string} path */
const shrink = (path) => promisify(execFile)('convert', [path, '-strip', '+dither', '-colors', COLOURS, `PNG8:${path}`]).catch(() => null);

/** @param {import('playwright-core').Browser} browser @param {keyof typeof READS} language */
async function one(browser, language) {
  const stub = await serve({ script: SCRIPT, signIn: true, wordMs: 250 });
  const context = await person(browser, { locale: language, viewport: SIZE, reducedMotion: 'reduce' });
  await context.addInitScript((targets) => localStorage.getItem('subtide.settings') ?? localStorage.setItem('subtide.settings', JSON.stringify({ targets })), [READS[language]]);
  const page = await context.newPage();
  await page.goto(stub.url);
  await state(page, 'signed_out');
  await both(page, 'sign-in', language);
  await page.locator('#toggle').click();
  await known(page);
  await page.locator('#open-settings').click();
  await page.locator('#settings[open]').waitFor();
  await both(page, 'settings', language);
  await page.keyboard.press('Escape');
  const overlay = await context.newPage();
  await overlay.setViewportSize(OVERLAY);
  await overlay.goto(`${stub.url}/overlay/`);
  await page.bringToFront();
  await page.locator('#toggle').click();
  await page.locator('#lines .source .words', { hasText: 'If you would like' }).waitFor();
  await both(page, 'captions', language);
  await page.locator('#lines .translation .words', { hasText: SCRIPT.at(-1)?.translations[READS[language]] }).waitFor();
  await both(overlay, 'overlay', language);
  await page.locator('#open-history').click();
  await page.locator('#history-search').fill(WORD);
  await page.locator('#history mark').first().waitFor();
  await both(page, 'history', language);
  await context.close();
  stub.drop();
  stub.server.close();
  stub.server.closeAllConnections();
}

/** @type {string[]} */
const taken = [];
await mkdir(given.pictures ?? '', { recursive: true });
await withBrowser(async (browser) => {
  for (const language of /** @type {(keyof typeof READS)[]} */ (Object.keys(READS))) await one(browser, language);
});
for (const path of taken) await shrink(path);
figure('pictures_taken', taken.length);
