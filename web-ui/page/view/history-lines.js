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

  /** @param {readonly Found[]} groups @param {readonly string[]} words */
  hits(groups, words) {
    this.#items.clear();
    const drawn = groups.flatMap(({ entry, lines, hits }) => {
      const times = new Map(placed(lines).map(({ line, startMs }) => [line.key, startMs]));
      const labels = twoHeard(lines);
      const list = make('ol', 'hits');
      for (const index of hits) {
        const line = lines[index];
        if (!line) continue;
        const item = make('li');
        const go = make('button', 'hit');
        go.type = 'button';
        go.addEventListener('click', () => this.#jump(entry, line.key));
        go.append(...textsOf(line, times.get(line.key) ?? 0, labels, words));
        item.append(...around(lines[index - 1], 'before'), go, ...around(lines[index + 1], 'after'));
        list.append(item);
      }
      return [make('h3', '', entry.now ? t('history.now') : titleOf(new Date(entry.beganMs))), list];
    });
    this.#pane.replaceChildren(...drawn);
    this.#pane.scrollTop = 0;
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
    let after = held.firstChild;
    for (const { item } of items.values()) {
      if (item === after) after = item.nextSibling;
      else held.insertBefore(item, after);
    }
    while (after) {
      const next = after.nextSibling;
      after.remove();
      after = next;
    }
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
  const text = make('p', `around ${className}`, line.committed.trim());
  text.dir = 'auto';
  text.lang = line.language;
  return [text];
}
