/**
 * The fields that settings are made of. Each shows a value (`set`) and tells of a choice.
 *
 * @import { Key } from '../words/t.js'
 */

import { make, say } from './dom.js';

/** Numbers the fields, so that each has a name of its own. */
let count = 0;

/**
 * @param {Key} title
 * @param {...(Node | string)} parts
 */
export function section(title, ...parts) {
  const root = make('section', 'part');
  const heading = say('h3', title);
  heading.id = `part-${title.replaceAll('.', '-')}`;
  root.setAttribute('aria-labelledby', heading.id);
  root.append(heading, ...parts);
  return root;
}

/**
 * A field with its name beside it.
 * @param {Key} name
 * @param {HTMLElement} field
 * @param {Key} [about]
 */
export function row(name, field, about) {
  const root = make('div', 'row');
  const control = field.matches('input, select, textarea') ? field : field.querySelector('input:not([type=radio]), select');
  const title = say(control ? 'label' : 'span', name, 'name');
  count += 1;
  title.id = `name-${count}`;
  if (control) {
    control.id ||= `field-${count}`;
    title.setAttribute('for', control.id);
  } else field.setAttribute('aria-labelledby', title.id);
  root.append(title, field);
  if (about) {
    const text = say('p', about, 'about');
    text.id = `about-${count}`;
    (control ?? field).setAttribute('aria-describedby', text.id);
    root.append(text);
  }
  return root;
}

/**
 * One of a few: all are seen.
 * @template {string} T
 * @param {string} name
 * @param {readonly T[]} choices
 * @param {(choice: T) => Key} key
 * @param {(choice: T) => void} chosen
 */
export function choose(name, choices, key, chosen) {
  const root = make('div', 'pills');
  root.setAttribute('role', 'radiogroup');
  const boxes = choices.map((choice) => {
    const label = make('label', 'pill');
    const box = make('input');
    box.type = 'radio';
    box.name = name;
    box.value = choice;
    box.addEventListener('change', () => box.checked && chosen(choice));
    label.append(box, say('span', key(choice)));
    root.append(label);
    return box;
  });
  return { root, set: (/** @type {T} */ value) => boxes.forEach((box) => (box.checked = box.value === value)) };
}

/**
 * One of many, or of such as have long names.
 * @template {string} T
 * @param {readonly T[]} choices
 * @param {(choice: T) => string} text in the page's language
 * @param {(choice: T) => void} chosen
 */
export function pick(choices, text, chosen) {
  const root = make('select', 'plain-select');
  const options = choices.map((choice) => {
    const option = make('option');
    option.value = choice;
    return option;
  });
  root.append(...options);
  root.addEventListener('change', () => {
    const choice = choices.find((each) => each === root.value);
    if (choice !== undefined) chosen(choice);
  });
  const set = (/** @type {T} */ value) => {
    choices.forEach((choice, index) => {
      const option = options[index];
      if (option) option.textContent = text(choice);
    });
    root.value = value;
  };
  return { root, set };
}

/**
 * A number, by sliding.
 * @param {{ min: number, max: number, step: number }} range
 * @param {(value: number) => string} text
 * @param {(value: number) => void} chosen
 */
export function slide({ min, max, step }, text, chosen) {
  const root = make('div', 'slide');
  const bar = make('input');
  const said = make('output');
  Object.assign(bar, { type: 'range', min: String(min), max: String(max), step: String(step) });
  bar.addEventListener('input', () => chosen(Number(bar.value)));
  root.append(bar, said);
  const set = (/** @type {number} */ value) => {
    if (Number(bar.value) !== value) bar.value = String(value);
    said.textContent = text(value);
    bar.setAttribute('aria-valuetext', text(value));
  };
  return { root, set };
}

/** Yes or no. @param {Key} name @param {(on: boolean) => void} chosen */
export function toggle(name, chosen) {
  const root = make('label', 'switch');
  const box = make('input');
  box.type = 'checkbox';
  box.addEventListener('change', () => chosen(box.checked));
  root.append(box, say('span', name));
  return { root, box };
}
