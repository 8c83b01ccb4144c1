/**
 * What the choices look like, before a word is spoken.
 *
 * @import { Shown } from '../host/shown.js'
 * @import { Settings } from './settings.js'
 */

import { lookOf } from '../overlay/look.js';
import { Stage } from '../overlay/stage.js';
import { CATALOGUES, spoken } from '../words/t.js';
import { make } from './dom.js';

/** @returns {{ lang: string, text: string, tail: string }[]} a sentence, and the same in another language */
function samples() {
  const other = spoken() === 'en' ? 'es' : 'en';
  return [spoken(), other].map((lang) => ({ lang, text: CATALOGUES[lang]?.['settings.sample'] ?? '', tail: CATALOGUES[lang]?.['settings.sampleTail'] ?? '' }));
}

/** @param {string} lang */
function gap(lang) {
  return lang === 'zh' ? '，' : lang === 'ar' ? '، ' : ', ';
}

/** A caption as the page draws it. */
export class CaptionPreview {
  root = make('div', 'preview lines');
  #line = make('div', 'line');

  constructor() {
    this.root.setAttribute('aria-hidden', 'true');
    this.root.append(this.#line);
  }

  /** @param {Settings} settings */
  draw({ layout }) {
    const blocks = samples().map(({ lang, text, tail }, index) => {
      const block = make('p', `text ${index ? 'translation' : 'source'}`);
      const words = make('span', 'words', `${text}${gap(lang)}`);
      words.lang = lang;
      words.dir = 'auto';
      words.append(make('span', 'tail', tail));
      block.append(words);
      return block;
    });
    this.#line.replaceChildren(...blocks.filter((_, index) => layout !== (index ? 'source' : 'target')));
  }
}

/** The overlay over a picture that is light here and dark there. */
export class OverlayPreview {
  root = make('div', 'overlay-preview');
  #stage;

  constructor() {
    this.root.setAttribute('aria-hidden', 'true');
    const stage = make('div');
    this.root.append(stage);
    this.#stage = new Stage(stage);
  }

  /** @param {Settings} settings */
  draw(settings) {
    const [source, target] = samples();
    if (!source || !target) return;
    this.#stage.dress(lookOf(settings));
    const words = ({ text, tail, lang } = source) => ({ committed: `${text}${gap(lang)}`, tail, final: false });
    /** @type {Shown['lines'][number]} */
    const line = {
      kind: 'speech', key: spoken(), run: 0, utterance: 0, startMs: 0, endMs: 0, language: source.lang, live: true, channel: 'me',
      ...words(), translations: [{ target: target.lang, waiting: false, ...words(target) }],
    };
    this.#stage.draw({ lines: [line], targets: [target.lang], labels: false, state: 'open', behindMs: 0 });
  }
}
