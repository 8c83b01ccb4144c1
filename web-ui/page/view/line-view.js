/**
 * One line on the page. Text is changed in place and only where it differs, and committed text only grows at its end: what
 * a reader reads or has selected does not move under their eyes.
 *
 * @import { SpeechLine, TranslationLine } from '../captions/lines.js'
 * @import { HeardGap, HeardSpeech } from '../history/heard.js'
 */

import { clock, gapText } from '../words/messages.js';
import { t } from '../words/t.js';
import { make } from './dom.js';

/** One language of a line: the steady words and the uncertain ones after them. */
class Words {
  #committed = document.createTextNode('');
  #tail = document.createTextNode('');
  #waiting = make('span', 'waiting');
  /** What is on the page: the DOM is asked for nothing. */
  #shown = { committed: '', tail: '', lang: '', waiting: false };

  /** @param {string} className */
  constructor(className) {
    this.root = make('p', `text ${className}`);
    this.mark = make('span', 'mark');
    this.words = make('span', 'words');
    this.words.dir = 'auto';
    const tail = make('span', 'tail');
    tail.append(this.#tail);
    this.words.append(this.#committed, tail, this.#waiting);
    this.root.append(this.mark, this.words);
  }

  /** @param {{ committed: string, tail: string }} text @param {string} lang @param {boolean} waiting */
  set({ committed, tail }, lang, waiting) {
    const shown = this.#shown;
    if (committed !== shown.committed) {
      if (committed.startsWith(shown.committed)) this.#committed.appendData(committed.slice(shown.committed.length));
      else this.#committed.data = committed;
    }
    if (tail !== shown.tail) replace(this.#tail, shown.tail, tail);
    if (waiting !== shown.waiting) this.#waiting.textContent = waiting ? '…' : '';
    if (lang !== shown.lang) this.words.lang = lang;
    this.#shown = { committed, tail, lang, waiting };
  }
}

/** Changes no more of a text than differs, so that a selection in the rest of it stays. @param {Text} node @param {string} from @param {string} to */
function replace(node, from, to) {
  let same = 0;
  while (same < from.length && from[same] === to[same]) same += 1;
  node.replaceData(same, from.length - same, to.slice(same));
}

/** What a speech and a gap have in common. */
class LineView {
  announced = false;
  /** @type {HTMLElement | null} */
  #session = null;

  /** @param {string} className */
  constructor(className) {
    this.root = make('li', className);
  }

  /** Says above the line that a session begins with it. @param {boolean} begins */
  begins(begins) {
    if (begins === (this.#session !== null)) return;
    this.#session?.remove();
    this.#session = begins ? make('p', 'session-mark', t('lines.session')) : null;
    if (this.#session) this.root.prepend(this.#session);
  }

  relabel() {
    if (this.#session) this.#session.textContent = t('lines.session');
  }
}

/** One utterance on the page. */
export class SpeechView extends LineView {
  #source = new Words('source');
  #time = make('span', 'time');
  #who = make('span', 'who');
  /** @type {Map<string, Words>} */
  #translations = new Map();
  /** @type {HeardSpeech | null} the line as it was drawn */
  #line = null;
  /** @type {readonly string[]} */
  #order = [];

  /** @param {HeardSpeech} line */
  constructor(line) {
    super('line');
    this.startMs = line.startMs;
    this.channel = line.channel;
    if (line.channel) this.root.dataset.channel = line.channel;
    this.#source.mark.append(this.#time, this.#who);
    this.root.append(this.#source.root);
    this.relabel();
  }

  /** @param {HeardSpeech} line @param {readonly string[]} order of the targets */
  set(line, order) {
    if (line === this.#line && order === this.#order) return;
    this.#line = line;
    this.#order = order;
    const silent = line.live && line.committed === '' && line.tail === '';
    this.#source.set(line, line.language, silent);
    const wanted = line.translations.length > 1 ? [...line.translations].sort((a, b) => rank(order, a.target) - rank(order, b.target)) : line.translations;
    if (this.#translations.size > 0) this.#drop(wanted);
    wanted.forEach((translation, index) => this.#translate(translation, wanted[index - 1]?.target));
    this.root.classList.toggle('untranslated', wanted.length === 0);
  }

  /** @override */
  relabel() {
    super.relabel();
    this.#time.textContent = clock(this.startMs);
    this.#who.textContent = this.channel ? t(this.channel === 'me' ? 'lines.me' : 'lines.them') : '';
  }

  /** Targets that are no longer wanted go. @param {readonly TranslationLine[]} wanted */
  #drop(wanted) {
    for (const [target, words] of this.#translations) {
      if (wanted.some((translation) => translation.target === target)) continue;
      words.root.remove();
      this.#translations.delete(target);
    }
  }

  /** @param {TranslationLine} translation @param {string | undefined} above target before it */
  #translate(translation, above) {
    let words = this.#translations.get(translation.target);
    if (!words) {
      words = new Words('translation');
      words.mark.textContent = translation.target;
      this.#translations.set(translation.target, words);
    }
    const before = (above !== undefined && this.#translations.get(above)?.root) || this.#source.root;
    if (before.nextSibling !== words.root) before.after(words.root);
    words.set(translation, translation.target, translation.waiting);
  }
}

/** Speech without a caption, told where it is missing. */
export class GapView extends LineView {
  #time = make('span', 'time');
  #text = make('span');

  /** @param {HeardGap} line */
  constructor(line) {
    super('gap');
    this.line = line;
    this.root.append(this.#time, this.#text);
    this.relabel();
  }

  /** @override */
  relabel() {
    super.relabel();
    this.#time.textContent = clock(this.line.startMs);
    this.#text.textContent = gapText(this.line.startMs, this.line.endMs, this.line.reason);
  }
}

/** @param {readonly string[]} order @param {string} target */
function rank(order, target) {
  const place = order.indexOf(target);
  return place < 0 ? order.length : place;
}

/**
 * What is read aloud of a line: its translation as soon as that is final; what there is of it, or the words themselves, once
 * nothing more can come.
 * @param {SpeechLine} line @param {readonly string[] | null} order of the targets; null where no translation is shown
 * @returns {{ text: string, lang: string } | null} null while there is nothing to read yet
 */
export function finishedText(line, order) {
  if (line.live) return null;
  const first = order && (line.translations.find(({ target }) => target === order[0]) ?? line.translations[0]);
  if (first && !first.final && line.translating) return null;
  if (first?.committed) return { text: first.committed, lang: first.target };
  return line.committed ? { text: line.committed, lang: line.language } : null;
}
