/**
 * Lines of a conversation to read back, or lines that were found, each with the ones around it.
 *
 * @import { HeardLine } from '../history/heard.js'
 * @import { Entry } from './history-list.js'
 * @import { Found } from './history-search.js'
 */

import { placed, twoHeard } from '../history/heard.js';
import { find } from '../history/search.js';
import { clock, gapText } from '../words/messages.js';
import { t } from '../words/t.js';
import { make } from './dom.js';
import { titleOf } from './history-list.js';

/** Lines in the DOM at once. */
const PAGE = 400;

export class HistoryLines {
  #pane;
  #jump;
  /** @type {{ line: HeardLine, startMs: number }[]} */
  #lines = [];
  #labels = false;
  /** Index of the first line in the DOM. */
  #from = 0;
  /** @type {Map<string, { state: string, item: HTMLElement }>} */
  #items = new Map();

  /** @param {HTMLElement} pane @param {(entry: Entry, key: string) => void} jump */
  constructor(pane, jump) {
    this.#pane = pane;
    this.#jump = jump;
  }

  /** @param {Entry} entry @param {readonly HeardLine[]} lines @param {boolean} fresh whether to begin at the beginning */
  show(entry, lines, fresh) {
    this.#lines = placed(lines);
    this.#labels = twoHeard(lines);
    if (fresh) {
      this.#items.clear();
      this.#from = 0;
      this.#pane.scrollTop = 0;
    }
    if (lines.length > 0) this.#page();
    else this.#pane.replaceChildren(make('p', 'nothing', t(entry.now ? 'history.empty' : 'history.unread')));
  }

  /** Brings a line into view and gives it the focus. @param {string} key */
  reveal(key) {
    const index = this.#lines.findIndex(({ line }) => line.key === key);
    if (index < 0) return;
    this.#from = Math.max(0, index - PAGE / 2);
    this.#page();
    const item = this.#items.get(key)?.item;
    item?.classList.add('shown');
    item?.scrollIntoView({ block: 'center' });
    item?.focus();
  }

  /**
   * @param {readonly Found[]} groups @param {readonly string[]} words
   * @param {boolean} fresh whether to begin at the beginning; otherwise what is there already stays, and stays where it is
   */
  hits(groups, words, fresh) {
    if (fresh) this.#items.clear();
    const held = fresh ? null : anchor(this.#pane);
    const kept = fresh ? new Map() : this.#items;
    this.#items = new Map();
    const drawn = groups.flatMap((group) => this.#group(group, words, kept));
    arrange(this.#pane, drawn);
    if (fresh) this.#pane.scrollTop = 0;
    else if (held?.item.isConnected) this.#pane.scrollTop += held.item.getBoundingClientRect().top - held.top;
  }

  /** @param {Found} group @param {readonly string[]} words @param {Map<string, { state: string, item: HTMLElement }>} kept @returns {HTMLElement[]} */
  #group({ entry, lines, hits }, words, kept) {
    const times = new Map(placed(lines).map(({ line, startMs }) => [line.key, startMs]));
    const labels = twoHeard(lines);
    const found = hits.flatMap((index) => {
      const line = lines[index];
      if (!line) return [];
      const name = `${entry.id}\n${line.key}`;
      const startMs = times.get(line.key) ?? 0;
      const next = [lines[index - 1], line, lines[index + 1]];
      const state = JSON.stringify([startMs, labels, words, next.map((each) => each?.kind === 'speech' && [each.committed, each.translations.map(({ committed }) => committed)])]);
      const before = kept.get(name);
      const item = before?.state === state ? before.item : this.#hit(entry, next, startMs, labels, words);
      this.#items.set(name, { state, item });
      return [item];
    });
    const title = entry.now ? t('history.now') : titleOf(new Date(entry.beganMs));
    const heading = kept.get(`${entry.id}\nheading`)?.item ?? make('h3');
    if (heading.textContent !== title) heading.textContent = title;
    const list = kept.get(`${entry.id}\nlist`)?.item ?? make('ol', 'hits');
    this.#items.set(`${entry.id}\nheading`, { state: '', item: heading }).set(`${entry.id}\nlist`, { state: '', item: list });
    arrange(list, found);
    return [heading, list];
  }

  /** @param {Entry} entry @param {(HeardLine | undefined)[]} lines before, found, after @param {number} startMs @param {boolean} labels @param {readonly string[]} words */
  #hit(entry, [before, line, after], startMs, labels, words) {
    const item = make('li');
    if (!line) return item;
    const go = make('button', 'hit');
    go.type = 'button';
    go.addEventListener('click', () => this.#jump(entry, line.key));
    go.append(...textsOf(line, startMs, labels, words));
    item.append(...around(before, 'before'), go, ...around(after, 'after'));
    return item;
  }

  /** Draws the lines from the first shown on; those that are as they were stay. */
  #page() {
    const list = make('ol', 'read');
    /** @type {Map<string, { state: string, item: HTMLElement }>} */
    const items = new Map();
    for (const { line, startMs } of this.#lines.slice(this.#from, this.#from + PAGE)) {
      const state = `${startMs} ${this.#labels} ${line.kind === 'speech' ? `${line.committed}\n${line.translations.map(({ committed }) => committed).join('\n')}` : ''}`;
      const before = this.#items.get(line.key);
      const item = before?.state === state ? before.item : make('li', line.kind);
      if (item !== before?.item) {
        item.tabIndex = -1;
        item.append(...textsOf(line, startMs, this.#labels, []));
      }
      items.set(line.key, { state, item });
    }
    this.#items = items;
    const held = this.#pane.querySelector('ol.read') ?? list;
    arrange(held, [...items.values()].map(({ item }) => item));
    const earlier = this.#turn('history.earlier', this.#from > 0, -PAGE);
    const later = this.#turn('history.later', this.#from + PAGE < this.#lines.length, PAGE);
    for (const child of [...this.#pane.children]) if (child !== held) child.remove();
    if (held.parentElement !== this.#pane) this.#pane.append(held);
    this.#pane.prepend(...earlier);
    this.#pane.append(...later);
  }

  /** @param {'history.earlier' | 'history.later'} label @param {boolean} there @param {number} by lines */
  #turn(label, there, by) {
    if (!there) return [];
    const button = make('button', 'quiet turn', t(label));
    button.type = 'button';
    button.addEventListener('click', () => {
      this.#from = Math.max(0, this.#from + by);
      this.#page();
      this.#pane.scrollTop = by > 0 ? 0 : this.#pane.scrollHeight;
      this.#pane.focus();
    });
    return [button];
  }
}

/** Makes these the children; those in their place already are not touched, so that the focus stays. @param {Element} parent @param {readonly HTMLElement[]} items */
function arrange(parent, items) {
  const wanted = new Set(/** @type {readonly Element[]} */ (items));
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let after = parent.firstChild;
  for (const item of items) {
    if (item === after) after = item.nextSibling;
    else parent.insertBefore(item, after);
  }
}

/** What is at the top of what a reader sees. @param {HTMLElement} pane */
function anchor(pane) {
  const edge = pane.getBoundingClientRect().top;
  const item = [...pane.querySelectorAll('li')].find((each) => each.getBoundingClientRect().bottom > edge);
  return item && pane.scrollTop > 0 ? { item, top: item.getBoundingClientRect().top } : null;
}

/** @param {HeardLine} line @param {number} startMs @param {boolean} labels @param {readonly string[]} words to mark @returns {HTMLElement[]} */
function textsOf(line, startMs, labels, words) {
  const time = make('span', 'time', clock(startMs));
  if (line.kind === 'gap') return [time, make('span', 'words', gapText(line.startMs, line.endMs, line.reason))];
  const who = labels && line.channel ? [make('span', 'who', t(line.channel === 'me' ? 'lines.me' : 'lines.them'))] : [];
  const said = [{ language: line.language, text: line.committed, kind: 'words' }];
  for (const { target, committed } of line.translations) said.push({ language: target, text: committed, kind: 'words translated' });
  const texts = said
    .filter(({ text }) => text.trim() !== '')
    .map(({ language, text, kind }) => {
      const element = make('span', kind);
      element.dir = 'auto';
      element.lang = language;
      element.append(...marked(text.trim(), words));
      return element;
    });
  return [time, ...who, ...texts];
}

/** @param {string} text @param {readonly string[]} words @returns {(string | HTMLElement)[]} the text with what was looked for marked */
function marked(text, words) {
  /** @type {(string | HTMLElement)[]} */
  const parts = [];
  let done = 0;
  for (const [from, to] of find(text, words)) {
    parts.push(text.slice(done, from), make('mark', '', text.slice(from, to)));
    done = to;
  }
  return [...parts, text.slice(done)].filter((part) => part !== '');
}

/** The line next to one that was found. @param {HeardLine | undefined} line @param {string} className */
function around(line, className) {
  if (line?.kind !== 'speech') return [];
  // Indented as the page goes, whichever way the words go.
  const row = make('p', `around ${className}`);
  const text = make('span', '', line.committed.trim());
  text.dir = 'auto';
  text.lang = line.language;
  row.append(text);
  return [row];
}
