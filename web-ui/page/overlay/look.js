/**
 * How an overlay looks: as the settings say, and as its address says where it says something. No DOM.
 *
 * @import { Settings } from '../view/settings.js'
 */

import { parseTag } from '../words/languages.js';
import { FONTS, LAYOUTS, MAX_OVERLAY_LINES, POSITIONS, SCALES } from '../view/settings.js';

export const ALIGNS = /** @type {const} */ (['start', 'center', 'end']);

/**
 * @typedef {object} Look
 * @property {number} lines Rows of text in each language.
 * @property {number} scale Of the text.
 * @property {number | null} size Of the text in CSS pixels, where the address says so.
 * @property {string} colour Of the text, as CSS has it.
 * @property {string | null} background Under the text; null for what suits the text's colour.
 * @property {number} opacity Of that, 0 to 1.
 * @property {typeof POSITIONS[number]} position
 * @property {number} width Percent of the window.
 * @property {typeof ALIGNS[number]} align
 * @property {typeof FONTS[number]} font
 * @property {number | null} outline Of the letters in CSS pixels; null for what suits their size.
 * @property {boolean} shadow
 * @property {typeof LAYOUTS[number]} layout
 * @property {string[] | null} targets Shown, in this order; null for all. One that listens by itself translates into these.
 * @property {string | null} source What is spoken, where it listens by itself; null for what the settings say.
 * @property {boolean} state Whether it says when something is not as it should be.
 * @property {boolean} listen Whether it listens by itself.
 */

/** @param {Settings} settings @returns {Look} */
export function lookOf({ overlay, font, layout }) {
  const { lines, scale, position, opacity, colour, width } = overlay;
  const rest = { size: null, background: null, align: /** @type {const} */ ('center'), outline: null, shadow: true, targets: null, source: null, state: true, listen: false };
  return { lines, scale: SCALES[scale] ?? 1, position, opacity, colour, width, font, layout, ...rest };
}

/** @typedef {(value: string) => Partial<Look> | null} Reader null for a value that makes no sense */

/** @param {string} value @param {number} least @param {number} most @returns {number | null} */
function within(value, least, most) {
  const number = value.trim() === '' ? NaN : Number(value);
  return number >= least && number <= most ? number : null;
}

/** @param {keyof Look} name @param {number} least @param {number} most @returns {Reader} */
function amount(name, least, most) {
  return (value) => {
    const number = within(value, least, most);
    return number === null ? null : { [name]: number };
  };
}

/** @param {keyof Look} name @param {readonly string[]} choices @returns {Reader} */
function choice(name, choices) {
  return (value) => (choices.includes(value) ? { [name]: value } : null);
}

/** @param {string} value @returns {boolean | null} what `1`, `true`, `on`, nothing at all, `0`, … say */
function truth(value) {
  if (['', '1', 'true', 'on', 'yes'].includes(value)) return true;
  return ['0', 'false', 'off', 'no'].includes(value) ? false : null;
}

/** @param {(yes: boolean) => Partial<Look>} so @returns {Reader} */
function flag(so) {
  return (value) => {
    const yes = truth(value);
    return yes === null ? null : so(yes);
  };
}

/** @param {keyof Look} name @param {(value: string) => boolean} isColour @returns {Reader} */
function colour(name, isColour) {
  return (value) => {
    const hex = /^[0-9a-f]{3,8}$/i.test(value) ? `#${value}` : value;
    return isColour(hex) ? { [name]: hex } : null;
  };
}

/**
 * What an address may say; docs/DESKTOP.md tells users.
 * @param {(value: string) => boolean} isColour
 * @returns {Record<string, Reader>}
 */
function readers(isColour) {
  return {
    lines: (value) => (Number.isInteger(within(value, 1, MAX_OVERLAY_LINES)) ? { lines: Number(value) } : null),
    size: amount('size', 8, 400),
    color: colour('colour', isColour),
    colour: colour('colour', isColour),
    background: (value) => (value === 'none' ? { opacity: 0 } : colour('background', isColour)(value)),
    opacity: amount('opacity', 0, 1),
    position: choice('position', POSITIONS),
    width: amount('width', 10, 100),
    align: choice('align', ALIGNS),
    font: choice('font', FONTS),
    outline: amount('outline', 0, 20),
    shadow: flag((shadow) => ({ shadow })),
    layout: choice('layout', LAYOUTS),
    source: (value) => {
      const source = value === 'auto' ? value : parseTag(value);
      return source === null ? null : { source };
    },
    targets: (value) => {
      if (value.trim() === '') return { targets: [] };
      const tags = value.split(',').map(parseTag);
      return tags.every((tag) => tag !== null) ? { targets: tags } : null;
    },
    'hide-state': flag((hide) => ({ state: !hide })),
    listen: (value) => (value === 'me' ? { listen: true } : null),
  };
}

/**
 * @param {Look} look as the settings say
 * @param {URLSearchParams} asked of the overlay's address
 * @param {(value: string) => boolean} isColour
 * @returns {{ look: Look, faults: string[] }} `faults` says, in English for the console, what was left aside
 */
export function lookAsked(look, asked, isColour) {
  const known = readers(isColour);
  /** @type {string[]} */
  const faults = [];
  for (const [name, value] of asked) {
    const read = Object.hasOwn(known, name) ? known[name] : undefined;
    const so = read?.(value) ?? null;
    if (so) look = { ...look, ...so };
    else faults.push(read ? `${name}=${value} makes no sense` : `there is no option ${name}; these are: ${Object.keys(known).join(', ')}`);
  }
  return { look, faults };
}

/**
 * What an overlay that listens by itself listens for: OBS keeps settings of its own, so that its address has to say it.
 * @param {Pick<Settings, 'source' | 'targets'>} settings @param {Pick<Look, 'source' | 'targets'>} look
 */
export function heardAs(settings, look) {
  return { source: look.source ?? settings.source, targets: look.targets ?? settings.targets };
}

/** @param {Pick<Settings, 'source' | 'targets'>} settings @param {string} page its address @returns {string} of an overlay that listens by itself */
export function listeningAddress({ source, targets }, page) {
  const address = new URL('overlay/', page);
  // Commas stay readable: people change this by hand.
  address.search = `listen=me&source=${source}&targets=${targets.join(',')}`;
  return address.href;
}
