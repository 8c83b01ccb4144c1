/** A question to the reader that they answer with yes or no. */

import { make } from './dom.js';

/**
 * @param {string} question @param {string} yes @param {string} no
 * @returns {Promise<boolean>} false also when they go away from it
 */
export function ask(question, yes, no) {
  const dialog = make('dialog', 'ask');
  const text = make('p', '', question);
  text.id = 'ask-text';
  dialog.setAttribute('aria-labelledby', text.id);
  const answers = make('div', 'answers');
  for (const [value, label, kind] of /** @type {const} */ ([['', no, 'quiet'], ['yes', yes, 'quiet danger']])) {
    const button = make('button', kind, label);
    button.type = 'button';
    button.addEventListener('click', () => dialog.close(value));
    answers.append(button);
  }
  dialog.append(text, answers);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      done(dialog.returnValue === 'yes');
    });
  });
}
