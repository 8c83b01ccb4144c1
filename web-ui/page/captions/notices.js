/**
 * What has to be said, gathered: what is true of both channels is said once, and what is true of one of two is said to be
 * so. No DOM.
 *
 * @import { Channel } from '../host/host.js'
 * @import { Message } from '../words/messages.js'
 */

/**
 * @typedef {object} Open
 * @property {string} key
 * @property {Channel | null} channel null for the page as a whole
 * @property {Message} message
 *
 * @typedef {object} Gathered
 * @property {string} key
 * @property {string[]} keys of all that are told by it
 * @property {Channel | null} channel whose alone it is
 * @property {Message} message
 */

/** @param {readonly Open[]} open @returns {Gathered[]} in the order of the first of each */
export function gathered(open) {
  /** @type {Map<string, Gathered>} */
  const all = new Map();
  for (const { key, channel, message } of open) {
    const same = `${message.title}\n${message.text}`;
    const held = all.get(same);
    if (!held) {
      all.set(same, { key, keys: [key], channel, message });
      continue;
    }
    held.keys.push(key);
    if (held.channel !== channel) held.channel = null;
  }
  return [...all.values()];
}
