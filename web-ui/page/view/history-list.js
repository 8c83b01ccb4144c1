/**
 * The conversations there are: this page's first, then those kept.
 *
 * @import { HeardLine } from '../history/heard.js'
 * @import { Conversation } from '../history/store.js'
 */

import { nameOf } from '../words/languages.js';
import { clock } from '../words/messages.js';
import { spoken, t } from '../words/t.js';
import { make } from './dom.js';

/**
 * @typedef {Conversation & { now: boolean, here: boolean, kept: boolean, read: () => Promise<HeardLine[]> }} Entry `now`:
 *   what the page shows at present; `here`: of this page, as `now` is; `kept`: on the device, and can be deleted.
 */

/** @param {Date} began @returns {string} the day and time in the reader's language */
export function titleOf(began) {
  return new Intl.DateTimeFormat(spoken(), { dateStyle: 'medium', timeStyle: 'short' }).format(began);
}

export class HistoryList {
  #list;
  #on;
  /** @type {Entry[]} */
  entries = [];
  #drawn = '';

  /** @param {HTMLElement} list @param {{ choose: (entry: Entry) => void, remove: (entry: Entry) => void }} on */
  constructor(list, on) {
    this.#list = list;
    this.#on = on;
  }

  /** @param {Entry[]} entries @param {string} chosen */
  draw(entries, chosen) {
    this.entries = entries;
    const state = JSON.stringify(entries);
    if (state !== this.#drawn) {
      // The focus stays on the conversation it was on.
      const focused = this.#list.contains(document.activeElement) ? document.activeElement?.closest('li')?.dataset.id : undefined;
      this.#list.replaceChildren(...entries.map((entry) => this.#item(entry)));
      if (focused !== undefined) this.#items().find(({ dataset }) => dataset.id === focused)?.querySelector('button')?.focus();
    }
    this.#drawn = state;
    this.mark(chosen);
  }

  /** @param {string} chosen */
  mark(chosen) {
    for (const item of this.#items()) item.querySelector('.conversation')?.setAttribute('aria-current', String(item.dataset.id === chosen));
  }

  #items() {
    return [...this.#list.querySelectorAll('li')];
  }

  /** @param {Entry} entry */
  #item(entry) {
    const item = make('li');
    item.dataset.id = entry.id;
    const title = titleOf(new Date(entry.beganMs));
    const choose = make('button', 'conversation');
    choose.type = 'button';
    choose.append(make('span', 'title', entry.now ? t('history.now') : title));
    const languages = [...entry.sources, ...entry.targets].map(nameOf).join(' · ');
    const size = [entry.lines > 0 && clock(entry.lastsMs), t('history.count', { count: new Intl.NumberFormat(spoken()).format(entry.lines) })];
    choose.append(make('span', 'size', size.filter(Boolean).join(' · ')));
    if (languages) choose.append(make('span', 'languages', languages));
    choose.addEventListener('click', () => this.#on.choose(this.entries.find(({ id }) => id === entry.id) ?? entry));
    item.append(choose);
    if (entry.kept) {
      const remove = make('button', 'quiet remove', '✕');
      remove.type = 'button';
      remove.setAttribute('aria-label', t('history.deleteOne', { title }));
      remove.title = remove.getAttribute('aria-label') ?? '';
      remove.addEventListener('click', () => this.#on.remove(entry));
      item.append(remove);
    }
    return item;
  }
}
