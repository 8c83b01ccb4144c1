/**
 * Getting in: why a handshake was refused, and what is shown at one. No DOM.
 *
 * @import { Door } from './link.js'
 * @import { ErrorCode } from './protocol.js'
 */

/**
 * @typedef {'stopped' | 'ended' | 'error' | 'unauthorized' | 'forbidden' | 'overloaded' | 'limited' | 'quota' |
 *   'replaced' | 'refused' | 'unreachable' | 'lost' | 'too_slow' | 'silent' | 'no_local'} CloseCause Why a link closed: as asked; in
 *   order, by the server; after an `error` event; the server wants a token; it refuses this page's origin or person; it is
 *   full; too many connections; the day's audio is used up; another window took the session; it refused otherwise; nobody
 *   answered; the connection broke and could not be mended; it could not carry the audio; no answer in time; the
 *   desktop client could not load its models.
 *
 * @typedef {object} Refused
 * @property {CloseCause} cause
 * @property {number} retryAfterMs 0 when the server did not say.
 */

/** A handshake that was refused before there was a socket. */
export class DoorError extends Error {
  /** @param {Refused} refused */
  constructor(refused) {
    super(`the door is closed: ${refused.cause}`);
    this.refused = refused;
  }
}

/** Where nobody has to sign in. @type {Door} */
export const NO_DOOR = { protocols: async () => [], renewed: async () => null };

/** @param {Response} response that is no success @returns {Promise<Refused>} */
export async function refusalOf(response) {
  const seconds = Number(response.headers.get('retry-after') ?? '');
  const retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
  /** @type {{ code?: ErrorCode }} */
  const body = await response.json().catch(() => ({}));
  return { cause: causeOfStatus(response.status, body?.code), retryAfterMs };
}

/** @param {number} status @param {ErrorCode | undefined} code @returns {CloseCause} */
function causeOfStatus(status, code) {
  if (code === 'quota_exceeded') return 'quota';
  if (status === 401) return 'unauthorized';
  if (status === 403) return 'forbidden';
  if (status === 429) return 'limited';
  return status === 503 ? 'overloaded' : 'refused';
}

/**
 * A browser hides why a WebSocket was refused, so the same address is asked once more in plain HTTP.
 * @param {string} url
 * @returns {Promise<Refused>}
 */
export async function whyRefused(url) {
  try {
    return await refusalOf(await fetch(url.replace(/^ws/, 'http'), { cache: 'no-store', redirect: 'manual' }));
  } catch {
    return { cause: 'unreachable', retryAfterMs: 0 };
  }
}

/** @param {number} code WebSocket close code that came without an `error` before it. @returns {CloseCause} */
export function causeOf(code) {
  switch (code) {
    case 4401:
      return 'unauthorized';
    case 4403:
      return 'forbidden';
    case 4409:
      return 'replaced';
    case 1013:
      return 'overloaded';
    case 4429:
      return 'limited';
    default:
      return 'lost';
  }
}
