/**
 * Which language is spoken, and which ones it is translated into.
 *
 * @import { Settings } from './settings.js'
 */

import { nameOf, OFFERED, parseTag } from '../words/languages.js';
import { MAX_TARGETS } from '../link/protocol.js';
import { t } from '../words/t.js';
import { byId, make } from './dom.js';

export class Languages {
  #source = byId('source', HTMLSelectElement);
  #summary = byId('targets-summary', HTMLElement);
  #choices = byId('choices', HTMLElement);
  #tag = byId('tag', HTMLInputElement);
  #fault = byId('tag-fault', HTMLElement);
  #settings;
  #chosen;
  #most = MAX_TARGETS;

  /** @param {Settings} settings kept up to date as the reader chooses @param {() => void} chosen */
  constructor(settings, chosen) {
    this.#settings = settings;
    this.#chosen = chosen;
    this.#source.addEventListener('change', () => this.#choose({ source: this.#source.value }));
    byId('add', HTMLFormElement).addEventListener('submit', (event) => this.#add(event));
    this.list();
  }

  /** @param {number} most targets the server takes */
  limit(most) {
    this.#most = most;
    this.list();
  }

  /** Shows what is chosen. */
  list() {
    const { source, targets, added } = this.#settings;
    const tags = [...new Set([...OFFERED, ...added, ...targets])];
    const sources = ['auto', ...new Set([...tags, ...(source === 'auto' ? [] : [source])])];
    this.#source.replaceChildren(
      ...sources.map((tag) => {
        const option = make('option', '', tag === 'auto' ? t('page.detect') : nameOf(tag));
        option.value = tag;
        return option;
      }),
    );
    this.#source.value = source;
    const focused = [...this.#choices.querySelectorAll('input')].find((box) => box === document.activeElement)?.value;
    const choices = tags.map((tag) => this.#choice(tag));
    this.#choices.replaceChildren(...choices.map(({ label }) => label));
    choices.find(({ box }) => box.value === focused)?.box.focus();
    this.#summary.textContent = targets.length ? targets.map(nameOf).join(', ') : t('page.nothing');
    this.#fault.textContent = '';
  }

  /** @param {Partial<Settings>} choice */
  #choose(choice) {
    Object.assign(this.#settings, choice);
    this.list();
    this.#chosen();
  }

  /** @param {string} tag */
  #choice(tag) {
    const { targets } = this.#settings;
    const box = make('input');
    box.type = 'checkbox';
    box.value = tag;
    box.checked = targets.includes(tag);
    box.disabled = !box.checked && targets.length >= this.#most;
    box.addEventListener('change', () =>
      this.#choose({ targets: box.checked ? [...targets, tag] : targets.filter((held) => held !== tag) }),
    );
    const label = make('label');
    const name = make('span', '', nameOf(tag));
    name.lang = tag;
    label.append(box, name, make('span', 'tag', tag));
    return { box, label };
  }

  /** @param {SubmitEvent} event */
  #add(event) {
    event.preventDefault();
    const { targets, added } = this.#settings;
    const tag = parseTag(this.#tag.value);
    const full = targets.length >= this.#most;
    this.#tag.setAttribute('aria-invalid', String(!tag || full));
    if (!tag || full) {
      this.#fault.textContent = tag ? t('page.tagFull', { count: this.#most }) : t('page.tagFault');
      return;
    }
    this.#tag.value = '';
    this.#choose({ targets: [...new Set([...targets, tag])], added: OFFERED.includes(tag) ? added : [...new Set([...added, tag])] });
  }
}
