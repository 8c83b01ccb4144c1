/**
 * What is said when there is no sound: what happened, and what to do next. No DOM.
 *
 * @import { Channel, Host } from '../host/host.js'
 * @import { Key } from '../words/t.js'
 * @import { Message } from '../words/messages.js'
 * @import { SoundFault } from './capture.js'
 */

import { captureMessage, MICROPHONE_GONE } from '../words/messages.js';
import { seconds, t } from '../words/t.js';

/** @typedef {readonly [Message['tone'], Key, Key]} Said tone, title and text */

/** Of what the machine plays, in a browser. @type {Record<SoundFault, Said>} */
const SHARED = {
  insecure: ['error', 'sound.unsupported.title', 'sound.insecure.text'],
  unsupported: ['error', 'sound.unsupported.title', 'sound.unsupported.text'],
  denied: ['warning', 'sound.unshared.title', 'sound.cancelled.text'],
  missing: ['error', 'sound.failed.title', 'sound.failed.text'],
  busy: ['error', 'sound.failed.title', 'sound.failed.text'],
  failed: ['error', 'sound.failed.title', 'sound.failed.text'],
  unshared: ['warning', 'sound.unshared.title', 'sound.unshared.text'],
};

/** Of what the machine plays, in the desktop client. @type {Record<SoundFault, Said>} */
const PLAYED = {
  ...SHARED,
  unsupported: ['error', 'sound.failed.title', 'sound.desktop.unsupported.text'],
  denied: ['error', 'sound.desktop.denied.title', 'sound.desktop.denied.text'],
  missing: ['error', 'sound.failed.title', 'sound.desktop.missing.text'],
  busy: ['error', 'sound.failed.title', 'sound.desktop.busy.text'],
};

/** Of the microphone, in the desktop client. @type {Record<SoundFault, Said>} */
const SPOKEN = {
  insecure: ['error', 'sound.microphone.title', 'sound.failed.text'],
  unsupported: ['error', 'sound.microphone.title', 'sound.failed.text'],
  denied: ['error', 'sound.microphone.title', 'sound.desktop.denied.text'],
  missing: ['error', 'sound.microphone.title', 'sound.microphone.missing.text'],
  busy: ['error', 'sound.microphone.title', 'sound.desktop.busy.text'],
  failed: ['error', 'sound.microphone.title', 'sound.failed.text'],
  unshared: ['error', 'sound.microphone.title', 'sound.failed.text'],
};

/** @param {Host['kind']} kind @param {Channel} channel @param {SoundFault} fault @returns {Message} */
export function soundMessage(kind, channel, fault) {
  if (kind === 'desktop') return said((channel === 'me' ? SPOKEN : PLAYED)[fault]);
  return channel === 'them' ? said(SHARED[fault]) : captureMessage(fault === 'unshared' ? 'failed' : fault);
}

/** Said when a device goes away while it is in use, and there is no other. @param {Channel} channel @returns {Message} */
export function goneMessage(channel) {
  return channel === 'me' ? MICROPHONE_GONE : said(['info', 'sound.gone.them.title', 'sound.gone.them.text']);
}

/** Said when another device took over. @param {string} device @returns {Message} */
export function movedMessage(device) {
  return { tone: 'info', title: t('sound.moved.title'), text: t('sound.moved.text', { device }) };
}

/** Said when the machine could not deliver sound. @param {number} ms in all @returns {Message} */
export function lostMessage(ms) {
  return { tone: 'warning', title: t('sound.lost.title'), text: t('sound.lost.text', { time: seconds(ms) }) };
}

/** Said when Start is pressed with nothing to listen to. @returns {Message} */
export function nothingMessage() {
  return said(['warning', 'sound.nothing.title', 'sound.nothing.text']);
}

/** Said when signing in ended without anybody signed in. @param {unknown} error @returns {Message} */
export function signInMessage(error) {
  const detail = Object(error).message ?? String(error ?? '');
  return { ...said(['error', 'sound.sign_in.title', 'sound.sign_in.text']), ...(detail && { detail: String(detail) }) };
}

/** What is called whose. @param {Channel} channel @param {Host['kind']} kind */
export function channelName(channel, kind) {
  if (channel === 'me') return t('sound.me');
  return kind === 'browser' ? t('sound.them.browser') : t('sound.them');
}

/** A message that is true of one channel alone. @param {Message} message @param {Channel} channel @param {Host['kind']} kind @returns {Message} */
export function of(message, channel, kind) {
  return { ...message, title: t('sound.of', { channel: channelName(channel, kind), message: message.title }) };
}

/** @param {Said} said @returns {Message} */
function said([tone, title, text]) {
  return { tone, title: t(title), text: t(text) };
}
