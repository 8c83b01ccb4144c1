/**
 * Draws the lines. Knows the DOM and nothing of sockets or sound.
 *
 * Only the newest lines are in the DOM, and those a reader scrolled back to: an hour of captions costs as much to draw as a
 * minute. Of those, what did not change is not touched.
 *
 * @import { HeardLine } from '../history/heard.js'
 */

import { gapText } from '../words/messages.js';
import { spoken, t } from '../words/t.js';
import { byId, make } from './dom.js';
import { finishedText, GapView, SpeechView } from './line-view.js';
import { Reading } from './reading.js';

/** Lines in the DOM while the page follows the newest, and how many more gather before the oldest leave. */
const LIVE = 120;
const SPARE = 40;
/** Earlier lines that come back at once. */
const EARLIER = 100;
/** Finished captions kept for the screen reader. */
const MAX_ANNOUNCED = 6;

/** @typedef {'below' | 'beside' | 'target' | 'source'} Layout Where translations stand, or what is left out. */

export class Transcript {
  #list = byId('lines', HTMLOListElement);
  #empty = byId('empty', HTMLElement);
  #jump = byId('jump', HTMLButtonElement);
  #announcer = byId('announcer', HTMLElement);
  #earlier = make('button', 'quiet earlier');
  #forgotten = make('p', 'forgotten');
  #settings;
  #reading;
  /** @type {Map<string, SpeechView | GapView>} those in the DOM */
  #views = new Map();
  /** @type {(SpeechView | GapView)[]} as they stand in the DOM */
  #shown = [];
  /** @type {readonly HeardLine[]} */
  #lines = [];
  /** @type {readonly string[]} */
  #order = [];
  /** Index of the first line in the DOM. */
  #first = 0;
  /** Keys of that line and of the first of all. */
  #firstKey = '';
  #oldestKey = '';
  /** Whether lines went because there were too many. */
  #dropped = false;
  /** @type {string | null} newest line when the reader scrolled back */
  #leftAt = null;
  /** @type {Set<string>} channels heard */
  #channels = new Set();
  #language = spoken();

  /** @param {{ layout?: Layout }} [settings] read at every drawing */
  constructor(settings = {}) {
    this.#settings = settings;
    const scroller = byId('scroller', HTMLElement);
    this.#earlier.type = 'button';
    this.#earlier.hidden = true;
    this.#forgotten.hidden = true;
    this.#list.before(this.#forgotten, this.#earlier);
    this.#label();
    this.#reading = new Reading(scroller, this.#list, {
      left: () => this.#left(),
      back: () => this.#back(),
      earlier: () => this.#showEarlier(),
    });
    this.#jump.addEventListener('click', () => this.follow());
    this.#earlier.addEventListener('click', () => this.#showEarlier());
  }

  /**
   * @param {readonly HeardLine[]} lines
   * @param {readonly string[]} order of the targets
   */
  draw(lines, order) {
    this.#notice(lines);
    this.#lines = lines;
    this.#order = sameList(order, this.#order) ? this.#order : [...order];
    if (this.#language !== spoken()) this.#relabel();
    const layout = this.#settings.layout ?? 'below';
    if (this.#list.dataset.layout !== layout) this.#list.dataset.layout = layout;
    this.#arrange();
    this.#reading.settle();
    this.#showJump();
  }

  /** Back to the newest line. */
  follow() {
    this.#reading.follow();
  }

  /** Brings a line into view. @param {string} key @returns {boolean} whether it is still there */
  show(key) {
    const index = this.#lines.findIndex((line) => line.key === key);
    if (index < 0) return false;
    this.#reading.leave();
    if (index < this.#first) this.#begin(Math.max(0, index - EARLIER / 2));
    const line = this.#views.get(key)?.root;
    if (!line) return false;
    this.#reading.leaveFor(line);
    for (const other of this.#list.querySelectorAll('.shown')) other.classList.remove('shown');
    line.classList.add('shown');
    return true;
  }

  /** What changed about the lines as a whole since they were last drawn. @param {readonly HeardLine[]} lines */
  #notice(lines) {
    this.#empty.hidden = lines.length > 0;
    const oldest = lines[0]?.key ?? '';
    if (oldest !== this.#oldestKey && this.#oldestKey !== '' && !lines.slice(0, 9).some(({ key }) => key === this.#oldestKey)) this.#dropped = true;
    this.#oldestKey = oldest;
    // The first line in the DOM stays the first, though lines before it went or came.
    const first = [this.#first, this.#first - 1].find((index) => lines[index]?.key === this.#firstKey);
    this.#first = Math.max(0, first ?? lines.findIndex(({ key }) => key === this.#firstKey));
  }

  /** Brings the DOM in line with the lines from the first shown on. */
  #arrange() {
    if (this.#reading.following && this.#lines.length - this.#first > LIVE + SPARE && !selecting(this.#list)) this.#first = this.#lines.length - LIVE;
    const lines = this.#lines;
    this.#firstKey = lines[this.#first]?.key ?? '';
    let moved = false;
    let count = 0;
    for (let index = this.#first; index < lines.length; index += 1, count += 1) {
      const line = /** @type {HeardLine} */ (lines[index]);
      const view = this.#view(line);
      if (line.kind === 'speech' && view instanceof SpeechView) view.set(line, this.#order);
      view.begins(beginsSession(lines, index));
      this.#announce(line, view);
      if (this.#shown[count] === view) continue;
      moved = true;
      this.#shown[count] = view;
    }
    if (moved || this.#shown.length > count) this.#place(count);
    this.#earlier.hidden = this.#first === 0;
    this.#forgotten.hidden = !this.#dropped || this.#first > 0;
  }

  /** @param {HeardLine} line */
  #view(line) {
    let view = this.#views.get(line.key);
    if (!view) {
      view = line.kind === 'gap' ? new GapView(line) : new SpeechView(line);
      this.#views.set(line.key, view);
      if (line.channel && !this.#channels.has(line.channel)) {
        this.#channels.add(line.channel);
        this.#list.toggleAttribute('data-labels', this.#channels.size > 1);
      }
    }
    return view;
  }

  /** Puts the views into the DOM in their order, moving none that stands right; the rest leaves. @param {number} count of views shown */
  #place(count) {
    this.#shown.length = count;
    const wanted = new Set(this.#shown);
    for (const [key, view] of this.#views) {
      if (wanted.has(view)) continue;
      view.root.remove();
      this.#views.delete(key);
    }
    let after = /** @type {ChildNode | null} */ (this.#list.firstChild);
    for (const { root } of this.#shown) {
      if (root === after) after = root.nextSibling;
      else this.#list.insertBefore(root, after);
    }
  }

  /** @param {number} first index of the line the DOM begins with */
  #begin(first) {
    this.#first = first;
    this.#arrange();
    this.#reading.settle();
  }

  #showEarlier() {
    if (this.#first === 0) return;
    // By the button, from the keyboard: it may go, and the focus with it.
    const focused = document.activeElement === this.#earlier;
    if (this.#reading.following && this.#shown[0]) this.#reading.leaveFor(this.#shown[0].root);
    this.#begin(Math.max(0, this.#first - EARLIER));
    if (focused && this.#earlier.hidden) byId('scroller', HTMLElement).focus();
  }

  #left() {
    this.#leftAt = this.#lines.at(-1)?.key ?? null;
    this.#jump.hidden = false;
    this.#showJump();
  }

  #back() {
    this.#leftAt = null;
    this.#jump.hidden = true;
    if (this.#shown.length > LIVE + SPARE) this.#arrange();
  }

  #showJump() {
    if (this.#reading.following) return;
    let fresh = 0;
    for (let index = this.#lines.length - 1; index >= 0 && this.#lines[index]?.key !== this.#leftAt; index -= 1) fresh += 1;
    const text = fresh > 0 ? t('lines.jumpNew', { count: new Intl.NumberFormat(spoken()).format(fresh) }) : t('lines.jump');
    if (this.#jump.textContent !== text) this.#jump.textContent = text;
  }

  #relabel() {
    this.#language = spoken();
    this.#label();
    for (const view of this.#shown) view.relabel();
  }

  #label() {
    this.#earlier.textContent = t('lines.earlier');
    this.#forgotten.textContent = t('lines.forgotten');
  }

  /**
   * Tells a screen reader a line once, when it is finished: the first translation wanted, or the words themselves.
   * @param {HeardLine} line @param {SpeechView | GapView} view
   */
  #announce(line, view) {
    if (view.announced) return;
    const order = this.#settings.layout === 'source' ? null : this.#order;
    const said = line.kind === 'gap' ? { text: gapText(line.startMs, line.endMs, line.reason), lang: spoken() } : finishedText(line, order);
    if (!said) return;
    view.announced = true;
    // What a reader scrolled back to was told when it was new.
    if (!this.#reading.following && this.#lines.length - this.#lines.indexOf(line) > LIVE) return;
    const paragraph = make('p', '', said.text);
    paragraph.lang = said.lang;
    this.#announcer.append(paragraph);
    while (this.#announcer.childElementCount > MAX_ANNOUNCED) this.#announcer.firstElementChild?.remove();
  }
}

/**
 * Whether a session begins with a line: the first of its channel in a run, where the line before is of an earlier run.
 * @param {readonly HeardLine[]} lines @param {number} index
 */
function beginsSession(lines, index) {
  const line = lines[index];
  const before = lines[index - 1];
  if (!line || !before || before.run >= line.run) return false;
  let same = index - 1;
  while (same >= 0 && lines[same]?.channel !== line.channel) same -= 1;
  return same < 0 || lines[same]?.run !== line.run;
}

/** @param {readonly string[]} a @param {readonly string[]} b */
function sameList(a, b) {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}

/** Whether the reader is selecting among the lines. @param {Element} list */
function selecting(list) {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && list.contains(selection.anchorNode);
}
