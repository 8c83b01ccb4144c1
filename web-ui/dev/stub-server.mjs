/**
 * A stand-in for the gateway, for working on the page without models: serves the page with the gateway's headers and
 * answers /v1/stream with a script that runs by the clock of the audio it gets. It hears nothing.
 *
 * `node dev/stub-server.mjs [port]`, then http://127.0.0.1:PORT/. In its environment: STUB_REFUSE, a status for every
 * handshake; STUB_SIGN_IN=1, sign-in with a provider that lets everybody in; STUB_CUT_MS, cuts every connection so often;
 * STUB_FORGET=1, forgets sessions, so that none can be resumed.
 */

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';

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
 * One utterance of the script. `after` is how long after the one before it begins, milliseconds.
 * @typedef {{ after: number, text: string, language: string, translations: Record<string, string>, gap?: boolean }} Spoken
 */

/** @type {Spoken[]} */
export const SCRIPT = [
  {
    after: 300,
    text: 'Good morning everyone, and thank you for coming.',
    language: 'en',
    translations: { es: 'Buenos días a todos, y gracias por venir.', ar: 'صباح الخير جميعًا، وشكرًا لحضوركم.', zh: '大家早上好，感谢各位的到来。' },
  },
  {
    after: 500,
    text: 'Before we begin, a few words about how the harbour was built, why the sea wall had to be raised twice in thirty years, and what the new survey says about the storms we must expect before the end of the century.',
    language: 'en',
    translations: {
      es: 'Antes de empezar, unas palabras sobre cómo se construyó el puerto, por qué hubo que elevar el dique dos veces en treinta años y qué dice el nuevo estudio sobre las tormentas que debemos esperar antes de que acabe el siglo.',
      ar: 'قبل أن نبدأ، بضع كلمات عن كيفية بناء الميناء، ولماذا كان لا بد من رفع الجدار البحري مرتين خلال ثلاثين عامًا، وما يقوله المسح الجديد عن العواصف التي يجب أن نتوقعها قبل نهاية القرن.',
      zh: '在开始之前，我想简单介绍一下这座港口是如何建成的，为什么海堤在三十年里不得不两次加高，以及新的调查对本世纪末之前我们必须预期的风暴有何说法。',
    },
  },
  { after: 400, text: 'This part was lost', language: 'en', translations: {}, gap: true },
  {
    after: 600,
    text: 'Any questions so far?',
    language: 'en',
    translations: { es: '¿Alguna pregunta hasta ahora?', ar: 'هل من أسئلة حتى الآن؟', zh: '到目前为止有问题吗？' },
  },
];

/**
 * @typedef {object} Options
 * @property {number} [port]
 * @property {number} [refuse] status of every handshake
 * @property {string} [refuseCode] code in the body of that
 * @property {number} [retryAfter] seconds, in the header of that
 * @property {number} [wordMs]
 * @property {Spoken[]} [script]
 * @property {boolean} [signIn] whether there is sign-in, at a provider that asks nothing
 * @property {boolean} [forget] whether no session can be resumed
 * @property {number} [windowMs] how long one can
 * @property {number} [tokenSeconds] life of an access token
 *
 * @typedef {object} Received
 * @property {any} start the newest
 * @property {number} bytes of audio, each counted once
 * @property {any[]} messages
 * @property {number} sockets opened
 * @property {string[]} auth tokens that came in band
 * @property {number} refreshes
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
  const received = /** @type {Received} */ ({ start: null, bytes: 0, messages: [], sockets: 0, auth: [], refreshes: 0 });
  const door = new Door(received, tokenSeconds);
  const how = { refuse: 0, wordMs: 180, script: SCRIPT, forget: false, windowMs: 120_000, ...options };
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
    const file = join(ROOT, normalize(path === '/' ? '/index.html' : path));
    try {
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

/** @param {import('ws').WebSocket} ws @param {Map<string, Session>} sessions @param {Received} received @param {Required<Pick<Options, 'wordMs' | 'script' | 'forget' | 'windowMs'>>} how */
function admit(ws, sessions, received, how) {
  received.sockets += 1;
  /** @type {Session | undefined} */
  let session;
  ws.on('message', (/** @type {Buffer} */ data, isBinary) => {
    if (isBinary) {
      session?.hear(data.length);
      return;
    }
    const message = JSON.parse(String(data));
    received.messages.push(message);
    if (message.type === 'start') {
      received.start = message;
      session = message.resume && sessions.get(message.resume.token);
      if (message.resume && (!session || how.forget)) {
        const error = { code: 'resume_expired', message: 'too late', retryable: false, trace_id: '' };
        ws.send(JSON.stringify({ event: 1, type: 'error', ...error }), () => ws.close(4410));
        return;
      }
      const fresh = !session;
      session ??= new Session(message, received, how);
      sessions.set(session.attach(ws, fresh ? null : message.resume.last_event), session);
      if (fresh) void session.play();
    } else if (message.type === 'stop' && session) session.stopped = true;
    else if (message.type === 'auth') received.auth.push(message.token);
  });
}

const sleep = (/** @type {number} */ ms) => new Promise((done) => setTimeout(done, ms));

/** A session that goes on while it has no socket, as one of the gateway's does on the bus. */
class Session {
  #id = randomUUID();
  /** @type {Record<string, unknown>[]} what was said, by number */
  #said = [];
  /** @type {import('ws').WebSocket | null} */
  #ws = null;
  #bytes = 0;
  stopped = false;

  /** @param {any} start @param {Received} received @param {Required<Pick<Options, 'wordMs' | 'script' | 'windowMs'>>} how */
  constructor(start, received, how) {
    this.start = start;
    this.received = received;
    this.how = how;
    this.rate = start.audio.sample_rate;
  }

  /** @param {import('ws').WebSocket} ws @param {number | null} lastEvent of a client that goes on @returns {string} the token to go on with */
  attach(ws, lastEvent) {
    this.#ws?.close(4409);
    this.#ws = ws;
    // Audio is wanted from a whole millisecond on.
    const audio_ms = this.audioMs();
    const whole = Math.floor((audio_ms * this.rate) / 1000) * 2;
    this.received.bytes -= this.#bytes - whole;
    this.#bytes = whole;
    const resume_token = randomUUID();
    const limits = { max_message_bytes: 65536, max_targets: 4, max_utterance_ms: 20000, idle_timeout_ms: 600000, resume_window_ms: this.how.windowMs };
    const started = { type: 'started', session: this.#id, resume_token, resumed: lastEvent !== null, audio_ms, limits };
    // Not `started`: an earlier one is of no use to anybody.
    const missed = lastEvent === null ? [] : this.#said.slice(lastEvent).filter(({ type }) => type !== 'started');
    for (const message of missed) ws.send(JSON.stringify(message));
    this.say(started);
    return resume_token;
  }

  /** @param {number} bytes */
  hear(bytes) {
    this.#bytes += bytes;
    this.received.bytes += bytes;
  }

  audioMs() {
    return Math.floor((this.#bytes / 2 / this.rate) * 1000);
  }

  /** @param {Record<string, unknown>} message */
  say(message) {
    const event = { event: this.#said.length + 1, ...message };
    this.#said.push(event);
    if (this.#ws?.readyState === this.#ws?.OPEN) this.#ws?.send(JSON.stringify(event));
  }

  async play() {
    const { wordMs, script } = this.how;
    let utterance = 0;
    for (const spoken of script) {
      if (this.stopped) break;
      await sleep(spoken.after);
      utterance += 1;
      await this.#speak(spoken, utterance, wordMs);
    }
    while (!this.stopped) await sleep(50);
    this.say({ type: 'ended', reason: 'stopped', audio_ms: this.audioMs(), utterances: utterance });
    this.#ws?.close(1000);
  }

  /** @param {Spoken} spoken @param {number} utterance @param {number} wordMs */
  async #speak(spoken, utterance, wordMs) {
    const start_ms = this.audioMs();
    this.say({ type: 'speech_started', utterance, start_ms });
    const words = spoken.text.split(/(?<= )/);
    let revision = 0;
    for (let heard = 1; heard < words.length && !this.stopped; heard += 1) {
      await sleep(wordMs);
      revision += 1;
      const committed = words.slice(0, Math.max(0, heard - 2)).join('');
      const tail = words.slice(Math.max(0, heard - 2), heard).join('');
      this.say({ type: 'caption', utterance, revision, start_ms, end_ms: this.audioMs() - wordMs, language: spoken.language, committed, tail, final: false });
      for (const target of this.start.targets) {
        const whole = spoken.translations[target] ?? '';
        const cut = Math.floor((whole.length * heard) / words.length);
        const steady = Math.floor((whole.length * Math.max(0, heard - 3)) / words.length);
        if (whole) this.say({ type: 'translation', utterance, revision, target, committed: whole.slice(0, steady), tail: whole.slice(steady, cut), final: false });
      }
    }
    const end_ms = this.audioMs();
    this.say({ type: 'speech_ended', utterance, end_ms });
    this.say({ type: 'ack', audio_ms: end_ms });
    if (spoken.gap) {
      this.say({ type: 'lag', behind_ms: 3400, update_interval_ms: 400 });
      this.say({ type: 'gap', utterance, from_ms: start_ms, to_ms: end_ms, reason: 'overloaded' });
      return;
    }
    revision += 1;
    this.say({ type: 'caption', utterance, revision, start_ms, end_ms, language: spoken.language, committed: spoken.text, tail: '', final: true });
    await sleep(wordMs);
    for (const target of this.start.targets) {
      this.say({ type: 'translation', utterance, revision, target, committed: spoken.translations[target] ?? '', tail: '', final: true });
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { STUB_REFUSE, STUB_SIGN_IN, STUB_CUT_MS, STUB_FORGET } = process.env;
  const stub = await serve({
    port: Number(process.argv[2] ?? 5027),
    refuse: Number(STUB_REFUSE ?? 0),
    signIn: STUB_SIGN_IN === '1',
    forget: STUB_FORGET === '1',
  });
  if (STUB_CUT_MS) setInterval(() => stub.drop(), Number(STUB_CUT_MS));
  console.log(`the page is at ${stub.url}/ (Ctrl-C ends it)`);
}
