/**
 * Draws the lines. Knows the DOM and nothing of sockets or sound.
 *
 * Text is changed in place and only where it differs, and committed text only grows at its end: what a reader reads or
 * has selected does not move under their eyes.
 *
 * @import { GapLine, Line, SpeechLine, TranslationLine } from '../captions/lines.js'
 */

import { byId, make } from './dom.js';
import { clock, gapText } from '../words/messages.js';

/** Closer than this to the end counts as reading live, in CSS pixels. */
const NEAR_END_PX = 60;
/** Finished captions kept for the screen reader. */
const MAX_ANNOUNCED = 6;

/** One language of a line: the steady words and the uncertain ones after them. */
class Words {
  #committed = document.createTextNode('');
  #tail = make('span', 'tail');
  #waiting = make('span', 'waiting');

  /** @param {string} className */
  constructor(className) {
    this.root = make('p', `text ${className}`);
    this.mark = make('span', 'mark');
    this.words = make('span', 'words');
    this.words.dir = 'auto';
    this.words.append(this.#committed, this.#tail, this.#waiting);
    this.root.append(this.mark, this.words);
  }

  /** @param {{ committed: string, tail: string }} text @param {string} lang @param {boolean} waiting */
  set({ committed, tail }, lang, waiting) {
    const shown = this.#committed.data;
    if (committed !== shown) {
      if (committed.startsWith(shown)) this.#committed.appendData(committed.slice(shown.length));
      else this.#committed.data = committed;
    }
    if (this.#tail.textContent !== tail) this.#tail.textContent = tail;
    const dots = waiting ? '…' : '';
    if (this.#waiting.textContent !== dots) this.#waiting.textContent = dots;
    if (this.words.lang !== lang) this.words.lang = lang;
  }
}

/** One utterance on the page. */
class SpeechView {
  #source = new Words('source');
  /** @type {Map<string, Words>} */
  #translations = new Map();
  announced = false;

  /** @param {SpeechLine} line */
  constructor(line) {
    this.root = make('li', 'line');
    this.root.append(this.#source.root);
    this.#source.mark.textContent = clock(line.startMs);
  }

  /** @param {SpeechLine} line @param {readonly string[]} order of the targets */
  set(line, order) {
    const silent = line.live && line.committed === '' && line.tail === '';
    this.#source.set(line, line.language, silent);
    const wanted = [...line.translations].sort((a, b) => rank(order, a.target) - rank(order, b.target));
    for (const [target, words] of this.#translations) {
      if (wanted.some((translation) => translation.target === target)) continue;
      words.root.remove();
      this.#translations.delete(target);
    }
    wanted.forEach((translation, index) => this.#translate(translation, index));
  }

  /** @param {TranslationLine} translation @param {number} index */
  #translate(translation, index) {
    let words = this.#translations.get(translation.target);
    if (!words) {
      words = new Words('translation');
      words.mark.textContent = translation.target;
      this.#translations.set(translation.target, words);
    }
    const place = this.root.children[index + 1] ?? null;
    if (place !== words.root) this.root.insertBefore(words.root, place);
    words.set(translation, translation.target, translation.waiting);
  }
}

/** Speech without a caption, told where it is missing. */
class GapView {
  announced = false;

  /** @param {GapLine} line */
  constructor(line) {
    this.root = make('li', 'gap');
    this.root.append(make('span', '', clock(line.startMs)), make('span', '', gapText(line.startMs, line.endMs, line.reason)));
  }
}

export class Transcript {
  #scroller = byId('scroller', HTMLElement);
  #list = byId('lines', HTMLOListElement);
  #empty = byId('empty', HTMLElement);
  #jump = byId('jump', HTMLButtonElement);
  #announcer = byId('announcer', HTMLElement);
  /** @type {Map<string, SpeechView | GapView>} */
  #views = new Map();
  #following = true;
  /** Where the page was scrolled to last: only a reader goes up. */
  #top = 0;
  /** @type {string | null} newest line when the reader scrolled back */
  #leftAt = null;

  constructor() {
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.#jump.addEventListener('click', () => this.follow());
    const grown = new ResizeObserver(() => this.#keepUp());
    grown.observe(this.#scroller);
    grown.observe(this.#list);
  }

  /**
   * @param {readonly Line[]} lines
   * @param {readonly string[]} order of the targets
   */
  draw(lines, order) {
    this.#empty.hidden = lines.length > 0;
    const wanted = new Set(lines.map(({ key }) => key));
    for (const [key, view] of this.#views) {
      if (wanted.has(key)) continue;
      view.root.remove();
      this.#views.delete(key);
    }
    lines.forEach((line, index) => {
      const view = this.#place(line, index, order);
      view.root.classList.toggle('new-session', index > 0 && lines[index - 1]?.run !== line.run);
    });
    this.#keepUp();
    this.#showJump(lines);
  }

  /** Back to the newest line. */
  follow() {
    this.#following = true;
    this.#leftAt = null;
    this.#jump.hidden = true;
    this.#keepUp();
  }

  /** @param {Line} line @param {number} index @param {readonly string[]} order @returns {SpeechView | GapView} */
  #place(line, index, order) {
    let view = this.#views.get(line.key);
    if (!view) {
      view = line.kind === 'gap' ? new GapView(line) : new SpeechView(line);
      this.#views.set(line.key, view);
    }
    const place = this.#list.children[index] ?? null;
    if (place !== view.root) this.#list.insertBefore(view.root, place);
    if (line.kind === 'speech' && view instanceof SpeechView) view.set(line, order);
    this.#announce(line, view, order);
    return view;
  }

  /**
   * Tells a screen reader a line once, when it is finished: the first translation wanted, or the words themselves.
   * @param {Line} line @param {SpeechView | GapView} view @param {readonly string[]} order
   */
  #announce(line, view, order) {
    if (view.announced) return;
    const said = line.kind === 'gap' ? { text: gapText(line.startMs, line.endMs, line.reason), lang: 'en' } : finished(line, order);
    if (!said) return;
    view.announced = true;
    const paragraph = make('p', '', said.text);
    paragraph.lang = said.lang;
    this.#announcer.append(paragraph);
    while (this.#announcer.childElementCount > MAX_ANNOUNCED) this.#announcer.firstElementChild?.remove();
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const up = scrollTop < this.#top;
    this.#top = scrollTop;
    if (scrollHeight - scrollTop - clientHeight < NEAR_END_PX) {
      this.follow();
      return;
    }
    // Text that grew since the page was last moved also leaves the end behind, and is no wish of the reader.
    if (!up) return;
    if (this.#following) this.#leftAt = [...this.#views.keys()].at(-1) ?? null;
    this.#following = false;
    this.#jump.hidden = false;
  }

  #keepUp() {
    if (!this.#following) return;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#top = this.#scroller.scrollTop;
  }

  /** @param {readonly Line[]} lines */
  #showJump(lines) {
    if (this.#following) return;
    const left = lines.findIndex(({ key }) => key === this.#leftAt);
    const fresh = left < 0 ? 0 : lines.length - 1 - left;
    this.#jump.textContent = fresh > 0 ? `Jump to live (${fresh} new)` : 'Jump to live';
  }
}

/** @param {readonly string[]} order @param {string} target */
function rank(order, target) {
  const place = order.indexOf(target);
  return place < 0 ? order.length : place;
}

/** @param {SpeechLine} line @param {readonly string[]} order @returns {{ text: string, lang: string } | null} */
function finished(line, order) {
  if (line.live) return null;
  const first = line.translations.find(({ target }) => target === order[0]) ?? line.translations[0];
  if (!first) return line.committed ? { text: line.committed, lang: line.language } : null;
  return first.final ? { text: first.committed, lang: first.target } : null;
}
