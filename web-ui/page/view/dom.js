/** Finding and making elements, and putting the page's words into them. */

import { direction, spoken, t } from '../words/t.js';

/** @typedef {import('../words/t.js').Key} Key */

/**
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T} the element with this id
 * @throws {Error} when index.html has no such element
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`index.html has no ${kind.name} with id ${id}`);
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} [className]
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className = '', text = '') {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/**
 * Makes an element whose words follow the page's language.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Key} key
 * @param {string} [className]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function say(tag, key, className = '') {
  const element = make(tag, className, t(key));
  element.dataset.t = key;
  return element;
}

/** Names an element for those who do not see it; the name follows the page's language. @param {Element} element @param {Key} key */
export function label(element, key) {
  element.setAttribute('data-t-label', key);
  element.setAttribute('aria-label', t(key));
}

/** Gives an element a hint that follows the page's language. @param {Element} element @param {Key} key */
export function hint(element, key) {
  element.setAttribute('data-t-title', key);
  element.setAttribute('title', t(key));
}

/**
 * Puts the words of the page's language in place: `data-t` (text), `data-t-label` (aria-label), `data-t-title` (title),
 * `data-t-placeholder`; and on a document its language and direction.
 * @param {Document | Element} root
 */
export function localise(root) {
  const keyed = (/** @type {string} */ name) => [...root.querySelectorAll(`[${name}]`)].map((element) => ({ element, key: /** @type {Key} */ (element.getAttribute(name)) }));
  for (const { element, key } of keyed('data-t')) element.textContent = t(key);
  for (const { element, key } of keyed('data-t-label')) element.setAttribute('aria-label', t(key));
  for (const { element, key } of keyed('data-t-title')) element.setAttribute('title', t(key));
  for (const { element, key } of keyed('data-t-placeholder')) element.setAttribute('placeholder', t(key));
  if (!(root instanceof Document)) return;
  root.documentElement.lang = spoken();
  root.documentElement.dir = direction();
}
