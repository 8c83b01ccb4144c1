/**
 * Names and terms with their translations, as a small table of fields.
 *
 * @import { Term } from '../host/host.js'
 * @import { Settings } from './settings.js'
 */

import { nameOf } from '../words/languages.js';
import { t } from '../words/t.js';
import { make, say } from './dom.js';
import { fitTerm, MAX_TERMS } from './settings.js';

export class GlossaryEditor {
  root = make('div', 'glossary');
  #settings;
  #changed;
  #rows = make('div', 'terms');
  #add = say('button', 'settings.glossary.add', 'quiet');
  #full = make('p', 'fault');
  /** As typed so far; unlike the settings, it may hold a row without a term. @type {Term[]} */
  #terms = [];
  /** What the rows were drawn for. */
  #drawn = '';

  /** @param {Settings} settings @param {() => void} changed */
  constructor(settings, changed) {
    this.#settings = settings;
    this.#changed = changed;
    this.#add.type = 'button';
    this.#add.addEventListener('click', () => this.#more());
    this.#full.setAttribute('role', 'alert');
    this.root.append(this.#rows, this.#add, this.#full);
  }

  /** Shows the terms that are held, unless they are what is being typed. */
  draw() {
    const { glossary, targets } = this.#settings;
    const held = JSON.stringify([glossary, targets, t('settings.glossary.term')]);
    if (held === this.#drawn) return;
    this.#drawn = held;
    if (JSON.stringify(glossary) !== JSON.stringify(this.#fitting())) this.#terms = structuredClone(glossary);
    this.#rows.replaceChildren(...this.#terms.map((term, index) => this.#row(term, index)));
  }

  #fitting() {
    return this.#terms.map(fitTerm).filter((term) => term !== null);
  }

  /** What was typed is kept. */
  #keep() {
    const terms = this.#fitting();
    if (JSON.stringify(terms) === JSON.stringify(this.#settings.glossary)) return;
    this.#settings.glossary = terms;
    this.#changed();
    this.#drawn = JSON.stringify([terms, this.#settings.targets, t('settings.glossary.term')]);
  }

  #more() {
    const full = this.#terms.length >= MAX_TERMS;
    this.#full.textContent = full ? t('settings.glossary.full', { count: MAX_TERMS }) : '';
    if (full) return;
    this.#terms.push({ term: '' });
    this.#redraw();
    this.#rows.lastElementChild?.querySelector('input')?.focus();
  }

  #redraw() {
    this.#drawn = '';
    this.#keep();
    this.draw();
  }

  /** @param {Term} term @param {number} index */
  #row(term, index) {
    const row = make('div', 'term');
    const fields = [this.#field(t('settings.glossary.term'), term.term, '', (words) => (term.term = words))];
    for (const target of this.#settings.targets) {
      const into = t('settings.glossary.into', { language: nameOf(target) });
      fields.push(
        this.#field(into, term.translations?.[target] ?? '', target, (words) => (term.translations = { ...term.translations, [target]: words })),
      );
    }
    const remove = make('button', 'tool remove', '×');
    remove.type = 'button';
    remove.setAttribute('aria-label', t('settings.glossary.remove', { term: term.term }));
    remove.title = remove.getAttribute('aria-label') ?? '';
    remove.addEventListener('click', () => {
      this.#terms.splice(index, 1);
      this.#redraw();
      this.#add.focus();
    });
    row.append(...fields, remove);
    return row;
  }

  /** @param {string} name @param {string} value @param {string} lang @param {(words: string) => void} typed */
  #field(name, value, lang, typed) {
    const label = make('label', 'cell');
    const input = make('input');
    input.value = value;
    input.dir = 'auto';
    input.lang = lang;
    input.spellcheck = false;
    input.addEventListener('input', () => typed(input.value));
    // Not at every letter: each change travels to the server.
    input.addEventListener('change', () => this.#keep());
    label.append(make('span', '', name), input);
    return label;
  }
}
