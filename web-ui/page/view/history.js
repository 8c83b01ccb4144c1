/**
 * `<dialog id="history">`: the conversations of this page and those kept on this device, search in all of them, and files
 * to take home. The rules of it lie in ../history.
 *
 * @import { Host } from '../host/host.js'
 * @import { Format } from '../history/export/formats.js'
 * @import { HeardLine } from '../history/heard.js'
 * @import { Entry } from './history-list.js'
 * @import { Searched } from './history-search.js'
 */

import { FORMATS, fileName } from '../history/export/formats.js';
import { languagesOf } from '../history/heard.js';
import { Keeper } from '../history/keeper.js';
import { wordsOf } from '../history/search.js';
import { nameOf } from '../words/languages.js';
import { gapText } from '../words/messages.js';
import { t } from '../words/t.js';
import { ask } from './ask.js';
import { byId, make } from './dom.js';
import { HistoryLines } from './history-lines.js';
import { HistoryList, titleOf } from './history-list.js';
import { skeleton } from './history-skeleton.js';
import { searchAll } from './history-search.js';

/** A reader who types is not searched for at every key. */
const TYPING_MS = 150;

/**
 * @typedef {object} HistoryOptions
 * @property {Pick<Host, 'save'>} host
 * @property {() => readonly HeardLine[]} lines of this page, in the order of speech
 * @property {{ keepHistory?: boolean, targets?: readonly string[] }} settings
 * @property {(key: string) => boolean} [show] Brings a line of this page into view; false when it is not there.
 */

export class HistoryView {
  #dialog = byId('history', HTMLDialogElement);
  #options;
  #keeper;
  /** @type {ReturnType<typeof skeleton> | null} while the dialog is open */
  #parts = null;
  /** @type {HistoryList | null} */
  #list = null;
  /** @type {HistoryLines | null} */
  #pane = null;
  /** @type {Entry | null} the conversation looked at */
  #chosen = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #typing;
  /** Counts what was asked for, so that a late answer is known to be late. */
  #asked = 0;
  /** What the search in the pane found so far; null where the pane shows no search. @type {{ words: string, known: Map<string, Searched>, done: boolean } | null} */
  #found = null;
  #works = true;
  #kept;

  /** @param {HistoryOptions} options */
  constructor(options) {
    this.#options = options;
    const { lines, settings } = options;
    this.#kept = settings.keepHistory === true;
    this.#keeper = new Keeper({ lines, settings, told: (works) => this.#tell(works), changed: () => void this.#refresh() });
    document.getElementById('open-history')?.addEventListener('click', () => this.open());
    // A choice made anywhere on the page, or in another window.
    document.addEventListener('change', () => setTimeout(() => void this.settingsChanged()));
    globalThis.addEventListener('storage', () => setTimeout(() => void this.settingsChanged()));
    this.#dialog.addEventListener('close', () => this.#closed());
  }

  /** To be called whenever lines may have changed; costs nothing while nothing is kept. */
  take() {
    this.#keeper.take();
  }

  /** Opens the dialog, or closes it where it is open. */
  toggle() {
    if (this.#dialog.open) this.#dialog.close();
    else this.open();
  }

  open() {
    if (this.#dialog.open) return;
    const parts = skeleton(this.#dialog);
    this.#parts = parts;
    this.#list = new HistoryList(parts.conversations, { choose: (entry) => void this.#choose(entry), remove: (entry) => void this.#remove(entry) });
    this.#pane = new HistoryLines(parts.lines, (entry, key) => this.#jump(entry, key));
    parts.close.addEventListener('click', () => this.#dialog.close());
    parts.clear.addEventListener('click', () => void this.#clear());
    parts.search.addEventListener('input', () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => void this.#search(), TYPING_MS);
    });
    for (const button of parts.formats) button.addEventListener('click', () => void this.#export(/** @type {Format} */ (button.dataset.export)));
    this.#dialog.showModal();
    parts.search.focus();
    void this.#refresh();
  }

  /** Writes what is to be kept at once. */
  write() {
    void this.#keeper.flush();
  }

  /** To be called when settings changed; asks what is to become of what was kept, where keeping was switched off. */
  async settingsChanged() {
    const keep = this.#options.settings.keepHistory === true;
    if (keep === this.#kept) return;
    this.#kept = keep;
    await this.#keeper.flush();
    if (!keep) {
      const count = await this.#count();
      // Of several windows the one the reader is at asks.
      if (count > 0 && document.hasFocus() && (await ask(t('history.askOff', { count }), t('history.delete'), t('history.keep')))) await this.#keeper.clear();
    }
    await this.#refresh();
  }

  #closed() {
    // Opened again before the page was told.
    if (this.#dialog.open) return;
    clearTimeout(this.#typing);
    this.#asked += 1;
    this.#parts = this.#list = this.#pane = this.#chosen = this.#found = null;
    this.#dialog.replaceChildren();
  }

  /** Draws the conversations anew, and the one looked at. */
  async #refresh() {
    if (!this.#parts) return;
    const list = await this.#keeper.list().catch(() => null);
    const parts = this.#parts;
    if (!parts || !this.#list) return;
    const kept = new Map((list ?? []).map((conversation) => [conversation.id, conversation]));
    const present = this.#keeper.present().reverse();
    /** @type {Entry[]} */
    const entries = present.map(({ all, ...conversation }, index) => ({ ...conversation, now: index === 0, here: true, kept: kept.delete(conversation.id), read: async () => all }));
    if (entries.length === 0) entries.push({ ...NOTHING, beganMs: Date.now(), read: async () => [] });
    for (const conversation of kept.values()) entries.push({ ...conversation, now: false, here: false, kept: true, read: () => this.#keeper.lines(conversation.id) });
    const chosen = entries.find(({ id }) => id === this.#chosen?.id) ?? entries[0];
    this.#list.draw(entries, chosen?.id ?? '');
    parts.clear.hidden = !list?.length;
    parts.hint.textContent = list === null || !this.#works ? t('history.blocked') : t(this.#options.settings.keepHistory ? 'history.kept' : 'history.notKept');
    if (parts.search.value.trim() !== '') await this.#search(false);
    else if (chosen) await this.#choose(chosen, false);
  }

  /** @param {Entry} entry @param {boolean} [fresh] whether another one than before */
  async #choose(entry, fresh = true) {
    this.#asked += 1;
    const asked = this.#asked;
    const lines = await entry.read().catch(() => null);
    if (asked !== this.#asked || !this.#parts) return;
    this.#chosen = entry;
    this.#list?.mark(entry.id);
    if (fresh) this.#parts.search.value = '';
    this.#parts.found.textContent = lines === null ? t('history.unread') : '';
    this.#found = null;
    this.#pane?.show(entry, lines ?? [], fresh);
    this.#offer(lines ?? []);
  }

  /** Which files can be made of these lines. @param {readonly HeardLine[]} lines */
  #offer(lines) {
    if (!this.#parts) return;
    const { languages, formats } = this.#parts;
    const { sources, targets } = languagesOf(lines);
    const spoken = sources.length === 1 && sources[0] ? t('history.spokenIn', { language: nameOf(sources[0]) }) : t('history.spoken');
    const choices = [['source', spoken], ...targets.map((target) => [target, nameOf(target)]), ...targets.map((target) => [`source ${target}`, t('history.both', { one: spoken, other: nameOf(target) })])];
    if (choices.map(([value]) => value).join() !== [...languages.options].map(({ value }) => value).join()) {
      const before = languages.value;
      languages.replaceChildren(...choices.map(([value = '', label]) => Object.assign(make('option', '', label), { value })));
      languages.value = choices.some(([value]) => value === before) ? before : 'source';
    }
    for (const button of formats) button.disabled = lines.length === 0;
  }

  /** @param {boolean} [fresh] whether the reader asked; otherwise lines came, and what was found is brought up to them */
  async #search(fresh = true) {
    const parts = this.#parts;
    if (!parts) return;
    const words = wordsOf(parts.search.value);
    if (words.length === 0) {
      if (this.#chosen) await this.#choose(this.#chosen, false);
      return;
    }
    // One that is under way looks at the new lines once it is through; one for other words is about to begin.
    if (!fresh && this.#found && (!this.#found.done || this.#found.words !== words.join(' '))) return;
    this.#asked += 1;
    const asked = this.#asked;
    const search = !fresh && this.#found ? this.#found : { words: words.join(' '), known: new Map(), done: false };
    const first = !search.done;
    this.#found = search;
    if (first) say(parts.found, t('history.searching'));
    const found = await searchAll(this.#list?.entries ?? [], words, () => asked === this.#asked, search.known);
    if (!found || asked !== this.#asked) return;
    search.done = true;
    this.#pane?.hits(found.groups, words, first);
    const count = found.groups.reduce((sum, { hits }) => sum + hits.length, 0);
    say(parts.found, count === 0 ? t('history.none') : t(found.more ? 'history.foundMore' : 'history.found', { count }));
    // What came meanwhile.
    if (first) void this.#search(false);
  }

  /** To a line that was found. @param {Entry} found @param {string} key */
  async #jump(found, key) {
    const entry = this.#list?.entries.find(({ id }) => id === found.id) ?? found;
    if (entry.now && this.#options.show?.(key)) {
      this.#dialog.close();
      // The page may have been scrolled to the newest line while the dialog was in front of it.
      this.#options.show(key);
      return;
    }
    await this.#choose(entry);
    this.#pane?.reveal(key);
  }

  /** @param {Format} format */
  async #export(format) {
    const parts = this.#parts;
    const chosen = this.#chosen;
    if (!parts || !chosen) return;
    // What became final since the list was drawn belongs to it.
    const present = this.#keeper.present().find(({ id }) => id === chosen.id);
    const lines = present?.all ?? (await chosen.read().catch(() => null));
    if (lines) await this.#save(parts, chosen, lines, format);
    else parts.status.textContent = t('history.unread');
  }

  /** @param {ReturnType<typeof skeleton>} parts @param {Entry} chosen @param {readonly HeardLine[]} lines @param {Format} format */
  async #save(parts, chosen, lines, format) {
    const languages = parts.languages.value.split(' ');
    const { sources } = languagesOf(lines);
    const tags = languages.map((language) => (language === 'source' ? (sources.length === 1 ? (sources[0] ?? '') : '') : language));
    const began = new Date(lines[0]?.atMs ?? chosen.beganMs);
    const names = (parts.languages.selectedOptions[0]?.textContent ?? '').trim();
    const words = {
      who: { me: t('lines.me'), them: t('lines.them') },
      gap: (/** @type {{ startMs: number, endMs: number, reason: import('../link/protocol.js').GapReason }} */ gap) => gapText(gap.startMs, gap.endMs, gap.reason),
      heading: [`Subtide · ${titleOf(began)}`, names],
    };
    const name = fileName(began, tags, format);
    const text = FORMATS[format].write(lines, { languages, words, beganMs: lines[0]?.atMs ?? null });
    try {
      const saved = await this.#options.host.save(name, FORMATS[format].type, text);
      parts.status.textContent = saved ? t('export.saved', { name }) : '';
    } catch {
      parts.status.textContent = t('export.failed', { name });
    }
  }

  /** @param {Entry} entry */
  async #remove(entry) {
    if (!(await ask(t('history.askOne', { title: titleOf(new Date(entry.beganMs)) }), t('history.delete'), t('history.keep')))) return;
    await this.#keeper.remove(entry.id).catch(() => this.#tell(false));
    await this.#refresh();
    this.#parts?.search.focus();
  }

  async #clear() {
    const count = await this.#count();
    if (!(await ask(t('history.askAll', { count }), t('history.delete'), t('history.keep')))) return;
    await this.#keeper.clear().catch(() => this.#tell(false));
    await this.#refresh();
    this.#parts?.search.focus();
  }

  /** How many conversations are kept. */
  async #count() {
    return this.#keeper.list().then(({ length }) => length, () => 0);
  }

  /** @param {boolean} works whether conversations can be kept */
  #tell(works) {
    this.#works = works;
    void this.#refresh();
  }
}

/** Says nothing twice to those who hear the page. @param {HTMLElement} status @param {string} text */
function say(status, text) {
  if (status.textContent !== text) status.textContent = text;
}

/** A conversation that did not begin. */
const NOTHING = { id: '', lastsMs: 0, sources: [], targets: [], lines: 0, now: true, here: true, kept: false };
