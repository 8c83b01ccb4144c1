/**
 * What the page says when something is not as it should be: what happened, and what to do next. No DOM.
 *
 * @import { Notice } from '../captions/captions.js'
 * @import { CaptureFault } from '../sound/capture.js'
 * @import { Closed } from '../link/link.js'
 * @import { GapReason } from '../link/protocol.js'
 */

import { clock, number, seconds, t, timeOfDay } from './t.js';

export { clock };

/**
 * @typedef {object} Message
 * @property {'info' | 'warning' | 'error'} tone
 * @property {string} title
 * @property {string} text
 * @property {string} [detail] For whoever looks after the server; in the server's own words, so in English.
 *
 * @typedef {Closed['cause']} Cause
 */

/** Said when the microphone goes away while it is in use. @type {Message} */
export const MICROPHONE_GONE = {
  tone: 'warning',
  get title() {
    return t('page.sound.gone');
  },
  get text() {
    return t('page.sound.gone.todo');
  },
};

/** Said in place of `unauthorized` where the page can sign in. @type {Message} */
export const SIGNED_OUT = {
  tone: 'warning',
  get title() {
    return t('page.signedOut');
  },
  get text() {
    return t('page.signedOut.todo');
  },
};

/** @param {CaptureFault} fault @returns {Message} */
export function captureMessage(fault) {
  return { tone: 'error', title: t(`page.sound.${fault}`), text: t(`page.sound.${fault}.todo`) };
}

/** Causes that need no words of the page's own: it was asked for, or the server has said it. */
const SILENT = /** @type {const} */ (['stopped', 'ended', 'error']);
/** Causes that trying again later mends by itself. @type {readonly Cause[]} */
const PASSING = ['overloaded', 'limited', 'quota'];

/** @param {Cause} cause @returns {cause is typeof SILENT[number]} */
function needsNoWords(cause) {
  return SILENT.some((silent) => silent === cause);
}

/** @param {Closed} closed @param {Date} [now] @returns {Message | null} null when there is nothing to say, or the server has said it */
export function closedMessage({ cause, code, reason, retryAfterMs }, now = new Date()) {
  if (needsNoWords(cause)) return null;
  const lost = cause === 'lost' && code ? [t('page.closed.code', { code: String(code) }), reason].filter(Boolean).join(': ') : '';
  const detail = cause === 'no_local' ? reason : lost;
  const text = t(`page.closed.${cause}.todo`);
  return {
    tone: PASSING.includes(cause) ? 'warning' : 'error',
    title: t(`page.closed.${cause}`),
    text: retryAfterMs > 0 ? `${text} ${later(retryAfterMs, now)}` : text,
    ...(detail && { detail }),
  };
}

/** Errors that are nobody's fault, and have words of their own. */
const LIMITS = /** @type {const} */ (['quota_exceeded', 'rate_limited', 'session_too_long', 'overloaded', 'unavailable']);
/** Errors by which somebody was shown out. */
const SHOWN_OUT = ['auth_error', 'forbidden'];

/** @param {Notice} notice @param {Date} [now] @returns {Message} */
export function noticeMessage(notice, now = new Date()) {
  const { kind, code, message, retryable, retryAfterMs, traceId } = notice;
  if (kind === 'warning') {
    if (code === 'audio_paused') return { tone: 'warning', title: t('page.told.audio_paused'), text: t('page.told.audio_paused.todo') };
    const about = code === 'session_ending' ? 'page.told.ending' : 'page.told.warning';
    return { tone: 'warning', title: t(about), text: t(`${about}.todo`), ...(message && { detail: message }) };
  }
  if (kind === 'ended') return { tone: 'info', title: t('page.told.restarting'), text: t('page.told.restarting.todo') };
  if (code === 'timeout') return { tone: 'info', title: t('page.told.timeout'), text: t('page.told.timeout.todo') };
  const limit = LIMITS.find((each) => each === code);
  const about = /** @type {const} */ (`page.told.${limit ?? (SHOWN_OUT.includes(code) ? 'ended' : 'error')}`);
  const text = t(`${about}.todo`);
  return {
    tone: limit ? 'warning' : 'error',
    title: t(about),
    text: retryable ? `${text} ${again(retryAfterMs, now)}` : text,
    detail: [message, code, traceId && `trace ${traceId}`].filter(Boolean).join(' · '),
  };
}

/** @param {number} ms from now, 0 when nobody knows @param {Date} now */
function again(ms, now) {
  if (ms <= 0) return t('page.again');
  const time = span(ms);
  return time ? t('page.againIn', { time }) : t('page.againAfter', { clock: nextMinute(ms, now) });
}

/** @param {number} ms from now @param {Date} now */
function later(ms, now) {
  const time = span(ms);
  return time ? t('page.laterIn', { time }) : t('page.laterAfter', { clock: nextMinute(ms, now) });
}

/** @param {number} ms @returns {string} such as `45 s` or `12 min`; empty for what is better told by the clock */
function span(ms) {
  const whole = Math.ceil(ms / 1000);
  if (whole < 120) return t('page.seconds', { number: number(whole) });
  return whole < 3600 ? t('page.minutes', { number: number(Math.ceil(whole / 60)) }) : '';
}

/** A clock shows no seconds, so the time is rounded up. @param {number} ms from now @param {Date} now */
function nextMinute(ms, now) {
  return timeOfDay(new Date(Math.ceil((now.getTime() + ms) / 60_000) * 60_000));
}

/** Why there is no caption. A newer server may know more reasons. @type {readonly GapReason[]} */
const GAPS = ['failed', 'timed_out', 'overloaded', 'no_model', 'not_kept'];

/** @param {number} startMs @param {number} endMs @param {GapReason} reason */
export function gapText(startMs, endMs, reason) {
  if (reason === 'not_resumed') return t('page.gap.not_resumed');
  return t('page.gap', { time: seconds(Math.max(100, endMs - startMs)), reason: t(`page.gap.${GAPS.includes(reason) ? reason : 'failed'}`) });
}
