/**
 * What is not as it should be, above the captions. A notice that stays is not touched, so that it is not read aloud again
 * and keeps the focus.
 *
 * @import { Message } from '../words/messages.js'
 */

import { byId, make, say } from './dom.js';

export class Notices {
  #root = byId('notices', HTMLElement);
  /** In the order shown. @type {Map<string, NoticeView>} */
  #views = new Map();
  /** @type {(key: string) => void} */
  #dismiss = () => {};

  /** @param {readonly { key: string, message: Message }[]} notices @param {(key: string) => void} dismiss */
  show(notices, dismiss) {
    this.#dismiss = dismiss;
    const before = [...this.#views.keys()];
    const focused = [...this.#views.values()].findIndex(({ root }) => root.contains(document.activeElement));
    const wanted = new Map(notices.map(({ key, message }) => [key, message]));
    for (const [key, view] of this.#views) if (!wanted.has(key)) view.root.remove();
    const shown = new Map();
    let place = this.#root.firstElementChild;
    for (const [key, message] of wanted) {
      const view = this.#views.get(key) ?? new NoticeView(() => this.#dismiss(key));
      shown.set(key, view);
      view.set(message);
      if (view.root === place) place = place.nextElementSibling;
      else this.#root.insertBefore(view.root, place);
    }
    this.#views = shown;
    if (focused >= 0) this.#focus(before, focused);
  }

  /** Gives the focus of a notice that went to the next one, or the one before, or the captions. @param {readonly string[]} before @param {number} at */
  #focus(before, at) {
    const heirs = [...before.slice(at), ...before.slice(0, at).reverse()];
    const heir = heirs.map((key) => this.#views.get(key)).find((view) => view);
    if (!heir) byId('scroller', HTMLElement).focus();
    else if (!heir.root.contains(document.activeElement)) heir.close.focus();
  }
}

class NoticeView {
  root = make('div', 'notice');
  close = say('button', 'page.dismiss', 'quiet');
  /** The message as it was drawn, in words. */
  #said = '';

  /** @param {() => void} dismiss */
  constructor(dismiss) {
    this.close.type = 'button';
    this.close.addEventListener('click', dismiss);
    this.root.append(this.close);
  }

  /** @param {Message} message */
  set({ tone, title, text, detail }) {
    const said = JSON.stringify([tone, title, text, detail]);
    if (said === this.#said) return;
    this.#said = said;
    this.root.dataset.tone = tone;
    for (const words of this.root.querySelectorAll('p')) words.remove();
    this.close.before(make('p', 'title', title), make('p', '', text));
    if (!detail) return;
    const words = make('p', 'detail', detail);
    words.lang = 'en';
    words.dir = 'auto';
    this.close.before(words);
  }
}
