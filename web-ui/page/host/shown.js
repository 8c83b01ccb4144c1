/**
 * From the caption page to overlays: what they draw. In a browser it travels through a BroadcastChannel, in the desktop
 * client through an event of Tauri's; both are called NAME. An overlay that opens says `{ hello: true }` and is told again.
 *
 * @import { Line } from '../captions/lines.js'
 * @import { Channel } from './host.js'
 */

/** Of the BroadcastChannel and of the event. */
export const NAME = 'subtide-captions';

/** The newest lines that travel; an overlay shows fewer. */
export const MOST_LINES = 12;

/**
 * @typedef {object} Shown
 * @property {(Line & { channel: Channel })[]} lines The newest, in the order of speech.
 * @property {string[]} targets In the order they are shown.
 * @property {boolean} labels Whether more than one channel is heard, so that lines say whose they are.
 * @property {string} state Phase of the page: `idle`, `open`, `reconnecting`, …
 * @property {number} behindMs How far captions are behind; 0 when they are not.
 */

export {};
