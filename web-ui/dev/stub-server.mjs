/**
 * A stand-in for the gateway, for working on the page without models: serves the page with the gateway's headers and
 * answers /v1/stream with a script that runs by the clock of the audio it gets. It hears nothing.
 *
 * `node dev/stub-server.mjs [port]`, then http://127.0.0.1:PORT/. With `?auth` refused and so on: set STUB_REFUSE=401.
 */

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
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
 * Serves until closed.
 * @param {{ port?: number, refuse?: number, wordMs?: number, script?: Spoken[] }} [options]
 * @returns {Promise<{ url: string, received: { start: any, bytes: number, messages: any[] }, server: import('node:http').Server, drop: () => void }>}
 */
export async function serve({ port = 0, refuse = 0, wordMs = 180, script = SCRIPT } = {}) {
  const received = /** @type {{ start: any, bytes: number, messages: any[] }} */ ({ start: null, bytes: 0, messages: [] });
  const server = createServer(async ({ url = '/' }, response) => {
    const path = new URL(url, 'http://x').pathname;
    if (path === '/v1/stream') {
      response.writeHead(refuse || 426, HEADERS).end();
      return;
    }
    const file = join(ROOT, normalize(path === '/' ? '/index.html' : path));
    try {
      const body = await readFile(file);
      response.writeHead(200, { ...HEADERS, 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(body);
    } catch {
      response.writeHead(404, HEADERS).end();
    }
  });
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => offered.has('subtide.v1') && 'subtide.v1' });
  server.on('upgrade', (request, socket, head) => {
    if (refuse) socket.end(`HTTP/1.1 ${refuse} Refused\r\ncontent-length: 0\r\n\r\n`);
    else sockets.handleUpgrade(request, socket, head, (ws) => void play(ws, received, { wordMs, script }));
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', () => done(undefined)));
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : port}`;
  return { url, received, server, drop: () => sockets.clients.forEach((ws) => ws.terminate()) };
}

/** @param {import('ws').WebSocket} ws @param {{ start: any, bytes: number, messages: any[] }} received @param {{ wordMs: number, script: Spoken[] }} how */
async function play(ws, received, { wordMs, script }) {
  let event = 0;
  let rate = 0;
  const bytesBefore = received.bytes;
  /** @param {object} message */
  const say = (message) => ws.readyState === ws.OPEN && ws.send(JSON.stringify({ event: (event += 1), ...message }));
  const audioMs = () => (rate ? Math.round(((received.bytes - bytesBefore) / 2 / rate) * 1000) : 0);
  let stopped = false;
  const begun = new Promise((done) => {
    ws.on('message', (/** @type {Buffer} */ data, isBinary) => {
      if (isBinary) {
        received.bytes += data.length;
        return;
      }
      const message = JSON.parse(String(data));
      received.messages.push(message);
      if (message.type === 'start') {
        received.start = message;
        rate = message.audio.sample_rate;
        done(undefined);
      } else if (message.type === 'stop') stopped = true;
    });
  });
  await begun;
  const limits = { max_message_bytes: 65536, max_targets: 4, max_utterance_ms: 20000, idle_timeout_ms: 600000 };
  say({ type: 'started', session: randomUUID(), resume_token: 'stub', limits });
  const sleep = (/** @type {number} */ ms) => new Promise((done) => setTimeout(done, ms));
  let utterance = 0;
  for (const spoken of script) {
    if (stopped) break;
    await sleep(spoken.after);
    utterance += 1;
    const start_ms = audioMs();
    say({ type: 'speech_started', utterance, start_ms });
    const words = spoken.text.split(/(?<= )/);
    let revision = 0;
    for (let heard = 1; heard < words.length && !stopped; heard += 1) {
      await sleep(wordMs);
      revision += 1;
      const committed = words.slice(0, Math.max(0, heard - 2)).join('');
      const tail = words.slice(Math.max(0, heard - 2), heard).join('');
      say({ type: 'caption', utterance, revision, start_ms, end_ms: audioMs() - wordMs, language: spoken.language, committed, tail, final: false });
      for (const target of received.start.targets) {
        const whole = spoken.translations[target] ?? '';
        const cut = Math.floor((whole.length * heard) / words.length);
        const steady = Math.floor((whole.length * Math.max(0, heard - 3)) / words.length);
        if (whole) say({ type: 'translation', utterance, revision, target, committed: whole.slice(0, steady), tail: whole.slice(steady, cut), final: false });
      }
    }
    const end_ms = audioMs();
    say({ type: 'speech_ended', utterance, end_ms });
    say({ type: 'ack', audio_ms: end_ms });
    if (spoken.gap) {
      say({ type: 'lag', behind_ms: 3400 });
      say({ type: 'gap', utterance, from_ms: start_ms, to_ms: end_ms, reason: 'overloaded' });
      continue;
    }
    revision += 1;
    say({ type: 'caption', utterance, revision, start_ms, end_ms, language: spoken.language, committed: spoken.text, tail: '', final: true });
    await sleep(wordMs);
    for (const target of received.start.targets) {
      say({ type: 'translation', utterance, revision, target, committed: spoken.translations[target] ?? '', tail: '', final: true });
    }
  }
  while (!stopped && ws.readyState === ws.OPEN) await sleep(50);
  say({ type: 'ended', reason: 'stopped', audio_ms: audioMs(), utterances: utterance });
  ws.close(1000);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serve({ port: Number(process.argv[2] ?? 5027), refuse: Number(process.env.STUB_REFUSE ?? 0) });
  console.log(`the page is at ${url}/ (Ctrl-C ends it)`);
}
