/**
 * The reader's terms as a session takes them. No DOM.
 *
 * @import { Term } from '../host/host.js'
 * @import { GlossaryTerm } from './protocol.js'
 */

import { MAX_TERM_BYTES, MAX_TERMS } from './protocol.js';

/**
 * A session has one translation of a term, whatever its targets are. So one is sent only where it is right for every target;
 * otherwise the term is a hint for the recogniser. What the server would refuse is left out.
 * @param {readonly Term[]} terms
 * @param {readonly string[]} targets
 * @returns {GlossaryTerm[]}
 */
export function glossaryOf(terms, targets) {
  /** @type {GlossaryTerm[]} */
  const all = [];
  for (const { term, translations = {} } of terms) {
    const source = term.trim();
    if (!fits(source)) continue;
    const wanted = new Set(targets.map((target) => translations[target]?.trim() ?? ''));
    const [target = ''] = wanted;
    all.push(wanted.size === 1 && fits(target) ? { source, target } : { source });
  }
  return all.slice(0, MAX_TERMS);
}

/** @param {string} text */
function fits(text) {
  return text !== '' && new TextEncoder().encode(text).length <= MAX_TERM_BYTES;
}
