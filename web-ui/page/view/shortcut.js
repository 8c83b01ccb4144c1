/** Keys pressed together, as the desktop client names them: `Ctrl+Alt+C`. No DOM. */

const MODIFIERS = /** @type {const} */ ([
  ['ctrlKey', 'Ctrl'],
  ['altKey', 'Alt'],
  ['shiftKey', 'Shift'],
  ['metaKey', 'Super'],
]);
/** Keys that go with others, by KeyboardEvent.code, besides letters, digits and F1 to F24. */
const OTHERS = ['Space', 'Home', 'End', 'PageUp', 'PageDown', 'Insert', 'ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight', 'Comma', 'Period', 'Slash'];
/** Pressed alone, they take a shortcut away. */
const CLEARING = ['Backspace', 'Delete'];

/**
 * @param {Pick<KeyboardEvent, 'code' | 'ctrlKey' | 'altKey' | 'shiftKey' | 'metaKey'>} event
 * @returns {string | null} empty for the keys that take a shortcut away; null for what is no shortcut: a modifier alone, a
 *   key without one
 */
export function shortcutOf(event) {
  if (CLEARING.includes(event.code) && !MODIFIERS.some(([name]) => event[name])) return '';
  const key = /^(?:Key|Digit)(.)$/.exec(event.code)?.[1] ?? (/^F\d{1,2}$/.test(event.code) || OTHERS.includes(event.code) ? event.code : null);
  const held = MODIFIERS.filter(([name]) => event[name]).map(([, said]) => said);
  const enough = held.some((name) => name !== 'Shift') || /^F\d/.test(event.code);
  return key && enough ? [...held, key].join('+') : null;
}
