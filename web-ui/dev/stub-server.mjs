/**
 * A stand-in for the gateway, for working on the page without models: serves the page with the gateway's headers and
 * answers /v1/stream with a script that runs by the clock of the audio it gets. It hears nothing.
 *
 * `node dev/stub-server.mjs [port]`, then http://127.0.0.1:PORT/. In its environment: STUB_REFUSE, a status for every
 * handshake; STUB_SIGN_IN=1, sign-in with a provider that lets everybody in; STUB_CUT_MS, cuts every connection so often;
 * STUB_FORGET=1, forgets sessions, so that none can be resumed; STUB_SCRIPT=long, an hour of sentences; STUB_SPEED, how many
 * times faster than speech. Of two sessions at once the second hears something else.
 *
 * @import { How, Received, Session } from './stub-session.mjs'
 * @import { Spoken } from './stub-scripts.mjs'
 */

import { randomUUID } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { ANSWERS, longScript, SCRIPT } from './stub-scripts.mjs';
import { admit } from './stub-session.mjs';

export { SCRIPT };

const ROOT = fileURLToPath(new URL('../page/', import.meta.url));
const TYPES = /** @type {Record<string, string>} */ ({
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
});
export const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'permissions-policy': 'microphone=(self)',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-cache',
};

/**
 * @typedef {object} Options
 * @property {number} [port]
 * @property {number} [refuse] status of every handshake
 * @property {string} [refuseCode] code in the body of that
 * @property {number} [retryAfter] seconds, in the header of that
 * @property {number} [wordMs]
 * @property {Spoken[]} [script] of the first session
 * @property {Spoken[]} [answers] of one beside it
 * @property {number} [speed] how many times faster than speech
 * @property {boolean} [signIn] whether there is sign-in, at a provider that asks nothing
 * @property {boolean} [forget] whether no session can be resumed
 * @property {number} [windowMs] how long one can
 * @property {number} [tokenSeconds] life of an access token
 */

/** What an answer needs. @param {import('node:http').ServerResponse} response @param {number} status @param {object | null} body @param {Record<string, string>} [headers] */
function answer(response, status, body, headers = {}) {
  const type = body ? { 'content-type': 'application/json' } : {};
  response.writeHead(status, { ...HEADERS, ...type, ...headers }).end(body ? JSON.stringify(body) : undefined);
}

/** Sign-in with a provider that lets everybody in: the routes of the page, and no more. */
class Door {
  #tokens = new Set();
  #tickets = new Set();
  #refresh = '';
  /** @param {Received} received @param {number} tokenSeconds */
  constructor(received, tokenSeconds) {
    this.received = received;
    this.tokenSeconds = tokenSeconds;
  }

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response @param {string} path */
  serve(request, response, path) {
    const cookie = /(?:^|; )subtide_refresh=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
    const refused = () => answer(response, 401, { code: 'auth_error', message: 'sign in first', request_id: '' });
    if (path === '/auth/login') {
      this.#refresh = randomUUID();
      answer(response, 303, null, { location: '/', 'set-cookie': `subtide_refresh=${this.#refresh}; HttpOnly; SameSite=Strict; Path=/auth` });
    } else if (path === '/auth/refresh' && request.method === 'POST') {
      this.received.refreshes += 1;
      if (!cookie || cookie !== this.#refresh) return refused();
      this.#refresh = randomUUID();
      const access_token = randomUUID();
      this.#tokens.add(access_token);
      const person = { id: 'p1', email: 'ana@example.com', name: 'Ana Example' };
      const body = { access_token, token_type: 'Bearer', expires_in: this.tokenSeconds, scope: 'stream', person };
      answer(response, 200, body, { 'set-cookie': `subtide_refresh=${this.#refresh}; HttpOnly; SameSite=Strict; Path=/auth` });
    } else if (path === '/auth/logout' && request.method === 'POST') {
      this.end();
      answer(response, 204, null, { 'set-cookie': 'subtide_refresh=; Max-Age=0; Path=/auth' });
    } else if (path === '/v1/ticket' && request.method === 'POST') {
      if (!this.#tokens.has(request.headers.authorization?.replace('Bearer ', ''))) return refused();
      const ticket = randomUUID();
      this.#tickets.add(ticket);
      answer(response, 200, { ticket, expires_in: 30 });
    } else answer(response, 404, null);
  }

  /** Whether these subprotocols bring a ticket that was not used. @param {string} offered */
  lets(offered) {
    const ticket = offered.split(',').map((each) => each.trim()).find((each) => each.startsWith('ticket.'));
    return this.#tickets.delete(ticket?.slice('ticket.'.length) ?? '');
  }

  /** The sign-in is over. */
  end() {
    this.#refresh = '';
    this.#tokens.clear();
  }
}

/**
 * Serves until closed.
 * @param {Options} [options]
 */
export async function serve(options = {}) {
  const { port = 0, refuseCode = 'overloaded', retryAfter = 0, signIn = false, tokenSeconds = 600 } = options;
  const received = /** @type {Received} */ ({ start: null, bytes: 0, messages: [], starts: [], sockets: 0, auth: [], refreshes: 0 });
  const door = new Door(received, tokenSeconds);
  /** @type {How} */
  const how = { refuse: 0, wordMs: 180, speed: 1, forget: false, windowMs: 120_000, ...options, scripts: [options.script ?? SCRIPT, options.answers ?? ANSWERS] };
  const refusal = { code: refuseCode, message: 'refused by the stub', request_id: '' };
  const wait = retryAfter ? { 'retry-after': String(retryAfter) } : undefined;
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://x').pathname;
    if (path === '/v1/stream') {
      if (how.refuse) answer(response, how.refuse, refusal, wait);
      else answer(response, signIn ? 401 : 426, { code: signIn ? 'auth_error' : 'upgrade_required', message: '', request_id: '' });
      return;
    }
    if (path === '/auth/config') return answer(response, 200, { sign_in: signIn, provider: signIn ? 'Google' : null, ways: signIn ? ['browser', 'native'] : [] });
    if (path.startsWith('/auth/') || path.startsWith('/v1/')) return door.serve(request, response, path);
    const file = join(ROOT, normalize(path.endsWith('/') ? `${path}index.html` : path));
    try {
      if ((await stat(file)).isDirectory()) return answer(response, 301, null, { location: `${path}/` });
      const body = await readFile(file);
      response.writeHead(200, { ...HEADERS, 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(body);
    } catch {
      response.writeHead(404, HEADERS).end();
    }
  });
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => offered.has('subtide.v1') && 'subtide.v1' });
  /** @type {Map<string, Session>} */
  const sessions = new Map();
  server.on('close', () => sessions.forEach((session) => (session.stopped = true)));
  server.on('upgrade', (request, socket, head) => {
    const status = how.refuse || (signIn && !door.lets(request.headers['sec-websocket-protocol'] ?? '') ? 401 : 0);
    if (status) socket.end(`HTTP/1.1 ${status} Refused\r\ncontent-length: 0\r\n\r\n`);
    else sockets.handleUpgrade(request, socket, head, (ws) => admit(ws, sessions, received, how));
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', () => done(undefined)));
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : port}`;
  return {
    url,
    received,
    server,
    /** May be changed while it runs. */
    how,
    door,
    /** Whether sockets were cut, so that a browser may complain. */
    dropped: false,
    /** Cuts every socket, as a broken network would. */
    drop() {
      this.dropped = true;
      sockets.clients.forEach((ws) => ws.terminate());
    },
    /** Closes every socket. @param {number} code */
    close: (code) => sockets.clients.forEach((ws) => ws.close(code)),
    /** Says something out of the script. @param {Record<string, unknown>} message */
    say: (message) => new Set(sessions.values()).forEach((session) => session.say(message)),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { STUB_REFUSE, STUB_SIGN_IN, STUB_CUT_MS, STUB_FORGET, STUB_SCRIPT, STUB_SPEED } = process.env;
  const stub = await serve({
    port: Number(process.argv[2] ?? 5027),
    refuse: Number(STUB_REFUSE ?? 0),
    signIn: STUB_SIGN_IN === '1',
    forget: STUB_FORGET === '1',
    speed: Number(STUB_SPEED ?? 1),
    ...(STUB_SCRIPT === 'long' && { script: longScript(), answers: longScript() }),
  });
  if (STUB_CUT_MS) setInterval(() => stub.drop(), Number(STUB_CUT_MS));
  console.log(`the page is at ${stub.url}/ (Ctrl-C ends it)`);
}
