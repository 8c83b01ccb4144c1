/**
 * Draws captions over whatever is behind: the newest rows, committed words steady and the tail dimmed. Used by the overlay
 * and by its preview in the settings.
 *
 * @import { SpeechLine } from '../captions/lines.js'
 * @import { Channel } from '../host/host.js'
 * @import { Shown } from '../host/shown.js'
 * @import { Look } from './look.js'
 */

import { make } from '../view/dom.js';
import { gapText } from '../words/messages.js';
import { seconds, t } from '../words/t.js';

/** How long a line takes to leave, as stage.css has it. */
const LEAVING_MS = 260;
/** Of a plate, for letters to need no outline. */
const ENOUGH = 0.6;
/** States that the overlay says; the others show by themselves. */
const TOLD = /** @type {const} */ (['reconnecting', 'failed', 'paused']);

/** @typedef {Shown['lines'][number]} ShownLine */
/** @typedef {{ committed: string, tail: string, lang: string, final?: boolean }} Text */

/** The words of a line in one language. */
class Block {
  #committed = document.createTextNode('');
  #tail = make('span', 'tail');

  /** @param {string} className */
  constructor(className) {
    this.root = make('p', `text ${className}`);
    this.words = make('span', 'words');
    this.words.dir = 'auto';
    this.words.append(this.#committed, this.#tail);
    this.root.append(this.words);
  }

  /** @param {Text} text */
  set({ committed, tail, lang, final = false }) {
    const shown = this.#committed.data;
    if (committed !== shown) {
      if (committed.startsWith(shown)) this.#committed.appendData(committed.slice(shown.length));
      else this.#committed.data = committed;
    }
    if (this.#tail.textContent !== tail) this.#tail.textContent = tail;
    if (this.words.lang !== lang) this.words.lang = lang;
    this.words.toggleAttribute('data-final', final);
  }
}

class LineView {
  /** @type {Map<string, Block>} by language: empty for the source */
  #blocks = new Map();
  #inner = make('div', 'inner');

  /** @param {string} kind */
  constructor(kind) {
    this.root = make('li', kind);
    this.root.append(this.#inner);
  }

  /** @param {readonly (Text & { target: string })[]} texts */
  set(texts) {
    for (const [target, block] of this.#blocks) {
      if (texts.some((text) => text.target === target)) continue;
      block.root.remove();
      this.#blocks.delete(target);
    }
    texts.forEach((text, index) => {
      let block = this.#blocks.get(text.target);
      if (!block) {
        block = new Block(text.target ? 'translation' : 'source');
        this.#blocks.set(text.target, block);
      }
      const place = this.#inner.children[index] ?? null;
      if (place !== block.root) this.#inner.insertBefore(block.root, place);
      block.set(text);
    });
  }

  /** @param {string} who whose words these are; empty where there is no doubt @param {Channel} channel */
  speaker(who, channel) {
    const first = this.#inner.querySelector('.words');
    if (who) this.root.dataset.channel = channel;
    for (const words of this.#inner.querySelectorAll('.words')) words.toggleAttribute('data-who', Boolean(who) && words === first);
    if (first && who) first.setAttribute('data-who', `${who}: `);
  }

  /** @returns {number} rows it takes, in the language in which it takes most; a gap is small */
  rows() {
    if (this.root.className === 'gap') return 0.25;
    const heights = [...this.#blocks.values()].map(({ root }) => root.offsetHeight / (parseFloat(getComputedStyle(root).lineHeight) || 1));
    return Math.max(1, ...heights.map(Math.round));
  }
}

export class Stage {
  #root;
  #plate = make('div', 'plate');
  #list;
  #aside = make('p', 'aside');
  /** @type {Map<string, LineView>} */
  #views = new Map();
  /** Keys of lines that have left and do not come back. @type {Set<string>} */
  #gone = new Set();
  /** @type {Look | null} */
  #look = null;
  /** @type {Shown | null} */
  #shown = null;
  #fresh = true;

  /** @param {HTMLElement} root filled with the stage @param {string} [id] of the list of lines */
  constructor(root, id = '') {
    this.#root = root;
    root.classList.add('stage');
    this.#list = make('ol', 'overlay-lines');
    this.#list.id = id;
    this.#aside.setAttribute('role', 'status');
    this.#plate.append(this.#list, this.#aside);
    root.append(this.#plate);
    this.#lay();
  }

  /** @param {Look} look */
  dress(look) {
    this.#look = look;
    const { dataset, style } = this.#root;
    const { position, align, font, layout } = look;
    Object.assign(dataset, { position, align, font, layout, shadow: String(look.shadow), plate: String(look.opacity >= ENOUGH) });
    const dark = lightness(this.#root, look.colour) < 0.45;
    style.setProperty('--rows', String(look.lines));
    style.setProperty('--stage-scale', String(look.scale));
    if (look.size === null) style.removeProperty('--stage-size');
    else style.setProperty('--stage-size', `${look.size}px`);
    style.setProperty('--stage-ink', look.colour);
    style.setProperty('--stage-outline', dark ? '#fff' : '#000');
    if (look.outline === null) style.removeProperty('--stage-stroke');
    else style.setProperty('--stage-stroke', `${2 * look.outline}px`);
    style.setProperty('--stage-plate', look.background ?? (dark ? '#f4f4f2' : '#0b1116'));
    style.setProperty('--stage-opacity', `${Math.round(look.opacity * 100)}%`);
    style.setProperty('--stage-width', `${look.width}%`);
    this.#gone.clear();
    this.#fresh = true;
    if (this.#shown) this.draw(this.#shown);
  }

  /** @param {Shown} shown @param {string} [fault] what keeps captions from coming, where that is known */
  draw(shown, fault = '') {
    this.#shown = shown;
    const look = this.#look;
    if (!look) return;
    const present = new Set(shown.lines.map(({ key }) => key));
    for (const key of this.#gone) if (!present.has(key)) this.#gone.delete(key);
    for (const [key, view] of this.#views) {
      if (present.has(key)) continue;
      view.root.remove();
      this.#views.delete(key);
    }
    /** @type {{ key: string, view: LineView }[]} */
    const standing = [];
    for (const line of shown.lines) {
      if (this.#gone.has(line.key)) continue;
      const view = this.#place(line, standing.length, look, shown);
      if (view) standing.push({ key: line.key, view });
    }
    this.#trim(standing, look.lines);
    this.#tell(look.state ? fault || aside(shown) : '');
    this.#fresh = false;
  }

  /** Says something where no captions are. @param {string} text */
  hint(text) {
    if (this.#look?.state !== false && this.#views.size === 0) this.#tell(text);
  }

  /** @param {ShownLine} line @param {number} place @param {Look} look @param {Shown} shown */
  #place(line, place, look, shown) {
    const texts = line.kind === 'gap' ? [{ target: '', committed: gapText(line.startMs, line.endMs, line.reason), tail: '', lang: '' }] : textsOf(line, look, shown.targets);
    let view = this.#views.get(line.key);
    if (texts.length === 0) {
      view?.root.remove();
      this.#views.delete(line.key);
      return null;
    }
    if (!view) {
      view = new LineView(line.kind === 'gap' ? 'gap' : 'line');
      this.#views.set(line.key, view);
    }
    // Lines on their way out stay where they are, above the others.
    const standing = [...this.#list.children].filter((child) => !child.classList.contains('leaving'));
    if (standing[place] !== view.root) this.#list.insertBefore(view.root, standing[place] ?? null);
    view.set(texts);
    view.speaker(shown.labels && line.kind === 'speech' ? t(`overlay.${line.channel}`) : '', line.channel);
    return view;
  }

  /** Lets lines go that have no room; the newest stays. @param {{ key: string, view: LineView }[]} standing @param {number} most rows */
  #trim(standing, most) {
    let rows = standing.pop()?.view.rows() ?? 0;
    for (const { key, view } of standing.reverse()) {
      rows += view.rows();
      // Room for a gap or two beside.
      if (rows <= most + 0.5) continue;
      this.#views.delete(key);
      this.#gone.add(key);
      this.#leave(view.root);
    }
  }

  /** @param {HTMLElement} element */
  #leave(element) {
    if (this.#fresh || matchMedia('(prefers-reduced-motion: reduce)').matches) {
      element.remove();
      return;
    }
    element.classList.add('leaving');
    setTimeout(() => {
      element.remove();
      this.#lay();
    }, LEAVING_MS);
  }

  /** @param {string} text */
  #tell(text) {
    if (this.#aside.textContent !== text) this.#aside.textContent = text;
    this.#lay();
  }

  /** A plate with nothing on it is not there. */
  #lay() {
    const lines = this.#list.childElementCount > 0;
    this.#plate.dataset.lines = lines ? 'some' : 'none';
    this.#plate.toggleAttribute('data-bare', !lines && this.#aside.textContent === '');
  }
}

/** @param {Shown} shown @returns {string} what a reader of the overlay should know */
function aside({ state, behindMs }) {
  const told = TOLD.find((each) => each === state);
  if (told) return t(`page.phase.${told}`);
  return behindMs > 0 ? t('overlay.behind', { time: seconds(behindMs) }) : '';
}

/** @param {SpeechLine} line @param {Look} look @param {readonly string[]} order @returns {(Text & { target: string })[]} */
function textsOf(line, { layout, targets }, order) {
  const wanted = targets ?? order;
  const translations = line.translations
    .filter(({ target, committed, tail }) => (targets === null || targets.includes(target)) && committed + tail !== '')
    .sort((a, b) => rank(wanted, a.target) - rank(wanted, b.target))
    .map(({ target, committed, tail, final }) => ({ target, committed, tail, final, lang: target }));
  const source = line.committed + line.tail === '' ? [] : [{ target: '', committed: line.committed, tail: line.tail, final: line.final, lang: line.language }];
  if (layout === 'source') return source;
  // Where nothing is translated, the words themselves are better than nothing.
  if (layout === 'target') return translations.length || line.translations.length ? translations : source;
  return [...source, ...translations];
}

/** @param {readonly string[]} order @param {string} target */
function rank(order, target) {
  const place = order.indexOf(target);
  return place < 0 ? order.length : place;
}

/** @param {HTMLElement} element where the colour is tried @param {string} colour @returns {number} 0 (black) to 1 (white) */
function lightness(element, colour) {
  element.style.setProperty('color', colour);
  const [red = 255, green = 255, blue = 255] = (getComputedStyle(element).color.match(/[\d.]+/g) ?? []).map(Number);
  element.style.removeProperty('color');
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
}
