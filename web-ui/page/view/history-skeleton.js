/** What the history's dialog is made of, in the reader's language; nothing is in it yet. */

import { t } from '../words/t.js';
import { make } from './dom.js';

const FORMATS = /** @type {const} */ ([
  ['srt', 'SubRip', 'export.srt'],
  ['vtt', 'WebVTT', 'export.vtt'],
  ['txt', 'TXT', 'export.txt'],
  ['json', 'JSON', 'export.json'],
]);

/** @param {HTMLDialogElement} dialog */
export function skeleton(dialog) {
  dialog.setAttribute('aria-labelledby', 'history-title');
  const title = withId(make('h2', '', t('history.title')), 'history-title');
  const close = button('quiet close', '✕', t('history.close'));
  const top = make('header');
  top.append(title, close);

  const search = withId(make('input'), 'history-search');
  search.type = 'search';
  search.autocomplete = 'off';
  search.spellcheck = false;
  search.maxLength = 200;
  const label = make('label', '', t('history.search'));
  label.htmlFor = search.id;
  const found = make('p', 'found-count');
  found.setAttribute('role', 'status');
  const finder = make('div', 'finder');
  finder.append(label, search, found);

  const conversations = withId(make('ul'), 'history-conversations');
  const hint = make('p', 'hint');
  const clear = button('quiet danger', t('history.clear'));
  const side = make('nav');
  side.setAttribute('aria-label', t('history.conversations'));
  side.append(conversations, hint, clear);
  const lines = withId(make('section'), 'history-lines');
  lines.tabIndex = 0;
  lines.setAttribute('aria-label', t('history.lines'));
  const body = make('div', 'body');
  body.append(side, lines);

  dialog.replaceChildren(top, finder, body);
  return { close, search, found, conversations, hint, clear, lines, ...exporter(dialog) };
}

/** @param {HTMLDialogElement} dialog */
function exporter(dialog) {
  const languages = withId(make('select'), 'history-languages');
  const caption = make('label', '', t('export.languages'));
  caption.htmlFor = languages.id;
  const group = make('div', 'formats');
  group.setAttribute('role', 'group');
  group.setAttribute('aria-label', t('export.save'));
  const formats = FORMATS.map(([format, name, what]) => {
    // Who says what they see to the machine must be understood.
    const label = t(what).includes(name) ? t(what) : `${name}: ${t(what)}`;
    const each = button('quiet', name, label);
    each.dataset.export = format;
    each.title = label;
    each.disabled = true;
    return each;
  });
  group.append(make('span', '', t('export.save')), ...formats);
  const status = make('p', 'status');
  status.setAttribute('role', 'status');
  const bottom = make('footer');
  bottom.append(caption, languages, group, status);
  dialog.append(bottom);
  return { languages, formats, status };
}

/** @param {string} className @param {string} text @param {string} [label] where the text is no words */
function button(className, text, label) {
  const made = make('button', className, text);
  made.type = 'button';
  if (label) made.setAttribute('aria-label', label);
  return made;
}

/** @template {HTMLElement} T @param {T} element @param {string} id @returns {T} */
function withId(element, id) {
  element.id = id;
  return element;
}
