/**
 * What the page says when something is not as it should be: what happened, and what to do next. No DOM.
 *
 * @import { Notice } from '../captions/captions.js'
 * @import { CaptureFault } from '../sound/capture.js'
 * @import { Closed } from '../link/link.js'
 * @import { ErrorCode, GapReason } from '../link/protocol.js'
 */

/**
 * @typedef {object} Message
 * @property {'info' | 'warning' | 'error'} tone
 * @property {string} title
 * @property {string} text
 * @property {string} [detail] For whoever looks after the server.
 */

/** @type {Record<CaptureFault, Message>} */
const CAPTURE = {
  insecure: {
    tone: 'error',
    title: 'The browser keeps the microphone from this page',
    text: 'Microphones work only on https:// pages and on this machine itself. Open the page at http://127.0.0.1 or through the tunnel’s https address.',
  },
  unsupported: {
    tone: 'error',
    title: 'This browser cannot capture audio',
    text: 'A current Chrome, Edge, Firefox or Safari can. Open this page in one of them.',
  },
  denied: {
    tone: 'error',
    title: 'No permission to use the microphone',
    text: 'Allow the microphone for this page (the icon beside the address), then press Start again.',
  },
  missing: {
    tone: 'error',
    title: 'No microphone found',
    text: 'Plug one in or switch it on in the system’s sound settings, then press Start again.',
  },
  busy: {
    tone: 'error',
    title: 'The microphone is in use',
    text: 'Another program holds it. Close that program, then press Start again.',
  },
  failed: {
    tone: 'error',
    title: 'The microphone could not be opened',
    text: 'Press Start to try again; if it stays so, reload the page.',
  },
};

/** Said when the microphone goes away while it is in use. @type {Message} */
export const MICROPHONE_GONE = {
  tone: 'warning',
  title: 'The microphone was disconnected',
  text: 'What was said before is being captioned. Plug it in again and press Start to go on.',
};

/** @param {CaptureFault} fault @returns {Message} */
export function captureMessage(fault) {
  return CAPTURE[fault];
}

/** @type {Record<Closed['cause'], Omit<Message, 'tone'> | null>} */
const CLOSED = {
  stopped: null,
  ended: null,
  error: null,
  unauthorized: {
    title: 'This server asks for an access token',
    text: 'It has no sign-in for browsers, so this page cannot give one. A program can send a token or an API key; who runs the server can set up sign-in (docs/SIGN-IN.md).',
  },
  forbidden: {
    title: 'This server does not take sessions from this page',
    text: 'Open the page at the address its operator gave you.',
  },
  overloaded: {
    title: 'The server is full',
    text: 'It has as many sessions as it can caption in time. Try again in a minute.',
  },
  limited: {
    title: 'Too many connections',
    text: 'You opened more sessions, or opened them faster, than one person may at this server. Close other windows of this page.',
  },
  quota: {
    title: 'Today’s audio is used up',
    text: 'This server captions so much speech a day for each person, and no more.',
  },
  replaced: {
    title: 'The session goes on in another window',
    text: 'Another connection took it over, so this one ended. Press Start for a session of its own.',
  },
  refused: {
    title: 'The server answers but opened no session',
    text: 'It may be full, or something on the way does not let WebSockets through. Try again in a minute.',
  },
  unreachable: {
    title: 'The server cannot be reached',
    text: 'Check that it is running and that this machine is online, then press Start again.',
  },
  lost: {
    title: 'The connection was lost',
    text: 'The server could not be reached for two minutes, and words spoken since are missing here. Press Start to go on in a new session; these captions stay.',
  },
  too_slow: {
    title: 'The connection is too slow for the audio',
    text: 'More than two minutes of speech was waiting to be sent, and that part is lost. Find a better connection, then press Start.',
  },
  silent: {
    title: 'The server did not answer in time',
    text: 'It may be starting up or overloaded. Try again in a minute.',
  },
};

/** Said in place of `unauthorized` where the page can sign in. @type {Message} */
export const SIGNED_OUT = {
  tone: 'warning',
  title: 'Your sign-in has ended',
  text: 'Sign in again to go on; these captions stay here until you leave the page.',
};

/** Causes that trying again later mends by itself. */
const PASSING = new Set(['overloaded', 'limited', 'quota']);

/** @param {Closed} closed @param {Date} [now] @returns {Message | null} null when there is nothing to say, or the server has said it */
export function closedMessage({ cause, code, reason, retryAfterMs }, now = new Date()) {
  const message = CLOSED[cause];
  if (!message) return null;
  const detail = cause === 'lost' && code ? [`close code ${code}`, reason].filter(Boolean).join(': ') : '';
  const text = retryAfterMs > 0 ? `${message.text} Try again ${when(retryAfterMs, now)}.` : message.text;
  return { tone: PASSING.has(cause) ? 'warning' : 'error', title: message.title, text, ...(detail && { detail }) };
}

/** Titles of the errors that are nobody's fault. @type {Partial<Record<ErrorCode, string>>} */
const LIMITS = {
  quota_exceeded: 'Today’s audio is used up',
  rate_limited: 'Too much at once',
  session_too_long: 'The session reached its longest time',
  overloaded: 'The server has too much to do',
  unavailable: 'A part of the server is away',
};

/** @param {Notice} notice @param {Date} [now] @returns {Message} */
export function noticeMessage(notice, now = new Date()) {
  if (notice.kind === 'warning') return { tone: 'warning', title: 'Not everything can be done', text: notice.message };
  if (notice.kind === 'ended') {
    return { tone: 'info', title: 'The server is restarting', text: 'Press Start to go on in a new session; these captions stay.' };
  }
  if (notice.code === 'timeout') return { tone: 'info', title: 'The session ended: no sound for a long time', text: 'Press Start to go on.' };
  const again = `Press Start to try again${notice.retryAfterMs > 0 ? ` ${when(notice.retryAfterMs, now)}` : ''}.`;
  const limit = LIMITS[/** @type {ErrorCode} */ (notice.code)];
  return {
    tone: limit ? 'warning' : 'error',
    title: limit ?? 'The session was ended by an error',
    text: notice.retryable ? `${sentence(notice.message)} ${again}` : sentence(notice.message),
    detail: `${notice.code}, trace ${notice.traceId}`,
  };
}

/** @param {number} ms from now @param {Date} now @returns {string} such as `in 45 s`, `in 12 min`, `after 01:00` */
export function when(ms, now) {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 120) return `in ${seconds} s`;
  if (seconds < 3600) return `in ${Math.ceil(seconds / 60)} min`;
  // Rounded up to the next minute: a clock shows no seconds.
  const then = new Date(Math.ceil((now.getTime() + ms) / 60_000) * 60_000);
  return `after ${then.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })}`;
}

/** @type {Record<GapReason, string>} */
const GAPS = {
  failed: 'recognition failed several times',
  timed_out: 'no answer came in time',
  overloaded: 'the server had too much to do',
  no_model: 'no model translates it',
  not_resumed: 'the connection was lost for too long',
};

/** @param {number} startMs @param {number} endMs @param {GapReason} reason */
export function gapText(startMs, endMs, reason) {
  if (reason === 'not_resumed') return 'The connection was lost for too long: words said here may be missing';
  const seconds = Math.max(0.1, (endMs - startMs) / 1000).toFixed(1);
  return `${seconds} s of speech could not be captioned: ${GAPS[reason] ?? reason}`;
}

/** @param {number} ms since the session's first sample @returns {string} such as 1:02:03 or 2:03 */
export function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  const tail = two(seconds % 60);
  return minutes < 60 ? `${minutes}:${tail}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${tail}`;
}

/** A server message is lower case and without full stop; a reader gets a sentence. @param {string} text */
function sentence(text) {
  const trimmed = text.trim();
  const whole = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
