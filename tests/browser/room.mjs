/**
 * What every script here begins with: Chromium with a microphone that hears a recording, the page in it, and the test that
 * started the script (tests/tests/browser.rs). The test gives its settings as the first argument, in JSON; one line of JSON
 * goes back for each thing told, and an `ask` is answered by a line on stdin.
 */

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

/**
 * @typedef {object} Settings
 * @property {string} url where the page is
 * @property {string} chromium the browser
 * @property {string} wav what the microphone hears, once
 * @property {number} leadMs silence before the first word of it
 * @property {number} lastMs begin of its last utterance
 * @property {string} [pictures] a folder
 */

/** @type {Settings} */
export const given = JSON.parse(process.argv[2] ?? '{}');

/** No step takes so long, even on a busy machine. */
export const PATIENCE_MS = 60_000;
/** Besides a step, a recording is heard to its end. */
const SPEECH_MS = 120_000;

const say = (/** @type {object} */ line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** @param {string} name @param {number} value */
export const figure = (name, value) => say({ figure: name, value });
/** For the test to judge. @param {string} name @param {unknown} value */
export const tell = (name, value) => say({ told: name, value });
/** Has the test do something, and waits until it is done. @param {string} what */
export async function ask(what) {
  say({ ask: what });
  const { done } = await answers.next();
  if (done) throw new Error(`the test is gone; it was to ${what}`);
}

/** Runs `play` with a browser, and ends both. @param {(browser: import('playwright-core').Browser) => Promise<void>} play */
export async function withBrowser(play) {
  const browser = await chromium.launch({
    executablePath: given.chromium,
    timeout: PATIENCE_MS,
    args: [
      '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
      '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${given.wav}%noloop`,
    ],
  });
  try {
    await play(browser);
  } catch (error) {
    for (const page of browser.contexts().flatMap((context) => context.pages())) {
      const shows = await page.locator('body').innerText({ timeout: 5000 }).catch(() => 'nothing');
      console.error(`${page.url().split('?')[0]} shows:\n${shows.slice(0, 2000)}\n`);
    }
    throw error;
  } finally {
    await browser.close();
    process.stdin.destroy();
  }
}

/**
 * A browser profile of its own.
 * @param {import('playwright-core').Browser} browser
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
export async function person(browser, options = {}) {
  const context = await browser.newContext({ permissions: ['microphone'], locale: 'en-GB', viewport: { width: 1200, height: 760 }, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  return context;
}

/** What a page's sockets brought: CDP's `Network.webSocketFrameReceived`, which the page cannot touch. */
export class Frames {
  /** @type {any[]} events of the server, in the order they came */
  events = [];
  /** @type {Set<() => void>} */
  #waiting = new Set();

  /** @param {import('playwright-core').Page} page */
  constructor(page) {
    page.on('websocket', (socket) => {
      socket.on('framereceived', ({ payload }) => {
        if (typeof payload !== 'string') return;
        this.events.push(JSON.parse(payload));
        this.#waiting.forEach((look) => look());
      });
    });
  }

  /** Waits until one of the events is so. @param {string} what @param {(event: any) => boolean} is */
  async until(what, is) {
    await new Promise((done, fail) => {
      const late = setTimeout(() => fail(new Error(`not within ${SPEECH_MS} ms: ${what}; came: ${JSON.stringify(this.events.slice(-5))}`)), SPEECH_MS);
      const look = () => {
        if (!this.events.some(is)) return;
        clearTimeout(late);
        this.#waiting.delete(look);
        done(undefined);
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** The finals, in the order of speech; one that was sent again counts once. @returns {any[]} captions, each with its `translations` */
  finals() {
    const finals = new Map();
    for (const event of this.events) {
      if (event.type === 'caption' && event.final) finals.set(event.utterance, { ...event, translations: {} });
    }
    for (const event of this.events) {
      if (event.type === 'translation' && event.final && finals.has(event.utterance)) finals.get(event.utterance).translations[event.target] = event.committed;
    }
    return [...finals.values()].filter(({ committed }) => committed !== '').sort((a, b) => a.utterance - b.utterance);
  }

  /** Speech that the server could not caption. */
  gaps() {
    return this.events.filter(({ type }) => type === 'gap');
  }
}

/** Waits for a state of the page. @param {import('playwright-core').Page} page @param {string} state */
export const state = (page, state) => page.locator(`#state[data-state="${state}"]`).waitFor();

/** From the signed-out page, over the provider's, to the page that can start. @param {import('playwright-core').Page} page */
export async function signIn(page) {
  await page.goto(given.url);
  await state(page, 'signed_out');
  await page.locator('#toggle').click();
  await page.locator('button[name="who"][value="ann"]').click();
  await page.waitForURL(`${given.url}/`);
  await known(page);
}

/** The page knows who is there; until then it shows no more than its markup. @param {import('playwright-core').Page} page */
export async function known(page) {
  await page.locator('#person-name', { hasText: /\w/ }).waitFor();
  await state(page, 'idle');
}

/** Listens until the recording was heard to its end, and stops. @param {import('playwright-core').Page} page @param {Frames} frames */
export async function hearAll(page, frames) {
  // The session may begin a little after the recording does, so its clock is behind that of the recording.
  const last = (/** @type {any} */ event) => event.type === 'caption' && event.final && event.end_ms > given.lastMs;
  await frames.until('the last utterance is final', last);
  await page.locator('#toggle').click();
  await frames.until('the session ended', ({ type }) => type === 'ended');
  await state(page, 'idle');
}
