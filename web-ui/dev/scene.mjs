/**
 * What the checks in a real browser have in common: Chromium with a fake microphone, a stub server for each scene, axe, and
 * whether everything fits.
 */

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { serve } from './stub-server.mjs';

/**
 * @typedef {import('playwright-core').Page} Page
 * @typedef {Awaited<ReturnType<typeof serve>>} Stub
 *
 * @typedef {object} Scene
 * @property {boolean} [dark]
 * @property {string} [locale] of the browser
 * @property {number} [width]
 * @property {number} [height]
 * @property {boolean} [microphone] whether it is allowed
 * @property {Record<string, unknown>} [settings] remembered by the page; `targets` is Spanish without them
 * @property {import('./stub-server.mjs').Options} [stub]
 * @property {RegExp} [complains] what the browser may say in its console
 */

const RATE = 16_000;
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Four seconds of a tone as a wav file. */
async function tone() {
  const samples = RATE * 4;
  const wav = Buffer.alloc(44 + samples * 2);
  wav.write('RIFF', 0);
  wav.writeUInt32LE(36 + samples * 2, 4);
  wav.write('WAVEfmt ', 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(RATE, 24);
  wav.writeUInt32LE(RATE * 2, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write('data', 36);
  wav.writeUInt32LE(samples * 2, 40);
  for (let i = 0; i < samples; i += 1) wav.writeInt16LE(Math.round(8000 * Math.sin((2 * Math.PI * 440 * i) / RATE)), 44 + i * 2);
  const path = join(await mkdtemp(join(tmpdir(), 'subtide-ui-')), 'tone.wav');
  await writeFile(path, wav);
  return path;
}

export class Browser {
  #browser;
  #pictures;

  /** @param {import('playwright-core').Browser} browser @param {string | undefined} pictures */
  constructor(browser, pictures) {
    this.#browser = browser;
    this.#pictures = pictures;
  }

  /** @param {string | undefined} pictures a folder */
  static async launch(pictures) {
    const browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: [
        '--no-sandbox', '--disable-dev-shm-usage', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--use-fake-ui-for-media-stream',
        '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${await tone()}`,
      ],
    });
    return new Browser(browser, pictures);
  }

  close() {
    return this.#browser.close();
  }

  /**
   * One page in a browser of its own, with a server of its own.
   * @param {string} name @param {Scene} scene
   * @param {(page: Page, stub: Stub, shot: (suffix?: string, of?: Page) => Promise<void>) => Promise<void>} check
   */
  async scene(name, { dark = false, locale = 'en', width = 1100, height = 700, microphone = true, settings = {}, stub: how = {}, complains }, check) {
    const stub = await serve({ wordMs: 60, ...how });
    const context = await this.#browser.newContext({
      permissions: microphone ? ['microphone'] : [], colorScheme: dark ? 'dark' : 'light', viewport: { width, height }, locale,
    });
    /** @type {string[]} */
    const complaints = [];
    context.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
    context.on('weberror', (error) => complaints.push(String(error.error())));
    await context.addInitScript(
      (remembered) => location.protocol === 'http:' && (localStorage.getItem('subtide.settings') ?? localStorage.setItem('subtide.settings', remembered)),
      JSON.stringify({ targets: ['es'], ...settings }),
    );
    const page = await context.newPage();
    await page.goto(stub.url);
    const shot = async (suffix = '', of = page) => {
      if (this.#pictures) await of.screenshot({ path: join(this.#pictures, `${name}${suffix}.png`) });
      assert.deepEqual(await faultsOf(of), [], `${name}${suffix}: axe finds faults`);
      assert.deepEqual(await misfits(of), [], `${name}${suffix}: something does not fit`);
    };
    await check(page, stub, shot);
    const broken = how.refuse || how.signIn || how.forget || stub.dropped;
    const expected = complains ?? (broken ? /WebSocket|Failed to load resource/ : null);
    assert.deepEqual(complaints.filter((text) => !expected?.test(text)), [], `${name}: the browser complains`);
    await context.close();
    await new Promise((done) => { stub.drop(); stub.server.close(done); stub.server.closeAllConnections(); });
    console.log(`ok ${name}`);
  }
}

/** @param {Page} page @returns {Promise<string[]>} what axe finds, of any impact */
export async function faultsOf(page) {
  await page.evaluate(axe);
  // While something fades, its contrast is nobody's fault.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((each) => each.effect?.getComputedTiming().endTime !== Infinity).map((each) => each.finished)));
  return page.evaluate('axe.run({ preload: false }).then(({ violations }) => violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((n) => n.html).join(" | ")}`))');
}

/** @param {Page} page @returns {Promise<string[]>} what is cut off, or lies outside of the window or over something else */
export function misfits(page) {
  return page.evaluate(() => {
    const root = document.documentElement;
    const found = root.scrollWidth > root.clientWidth ? ['the page scrolls sideways'] : [];
    const told = (/** @type {Element} */ element) => `${element.tagName.toLowerCase()}#${element.id}.${element.className} “${(element.textContent ?? '').trim().slice(0, 40)}”`;
    const scope = document.querySelector('dialog[open]') ?? document;
    const visible = [...scope.querySelectorAll('button, summary, select, label, legend, dt, dd, h1, h2, h3, .state, .lag, .about, .pill, .name, .title')].filter((element) => element.checkVisibility({ opacityProperty: true }) && !element.closest('.visually-hidden'));
    for (const element of visible) {
      const { left, right, width } = element.getBoundingClientRect();
      const style = getComputedStyle(element);
      const cut = style.overflowX !== 'visible' && style.textOverflow !== 'ellipsis' && element.scrollWidth > element.clientWidth + 1;
      const spills = style.display !== 'inline' && style.overflowX === 'visible' && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0;
      if (cut || spills) found.push(`cut: ${told(element)}`);
      if (width > 0 && (left < -1 || right > root.clientWidth + 1)) found.push(`outside: ${told(element)}`);
    }
    const bars = [...document.querySelectorAll('.bar > *, .bar-start > *, .bar-end > *, .transport > *, .tools > *')].filter((element) => element.checkVisibility() && getComputedStyle(element).display !== 'contents');
    for (const one of bars) {
      for (const other of bars) {
        if (one === other || one.contains(other) || other.contains(one)) continue;
        const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
        if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1) found.push(`overlap: ${told(one)} and ${told(other)}`);
      }
    }
    return found;
  });
}

/** @param {Page} page @param {string} text */
export const until = (page, text) => page.getByText(text).first().waitFor({ timeout: 30_000 });
