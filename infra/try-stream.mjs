/**
 * Streams a wav file (PCM s16le) in real time to a gateway with a freshly made HS256 token, and prints what comes back.
 * Ends with 1 when no final caption or no final translation came. Needs the packages of web-ui (`npm ci` there).
 *
 * JWT_SECRET=... node try-stream.mjs ws://127.0.0.1:5026/v1/stream file.wav
 */

import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { WebSocket } = createRequire(new URL('../web-ui/package.json', import.meta.url))('ws');
const [url, file] = process.argv.slice(2);
const FRAME_MS = 100;
/** From the end of the file to the last word owed. */
const PATIENCE_MS = 60_000;

function token(secret) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'try-compose', exp: Math.floor(Date.now() / 1000) + 600 })}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}

/** The format and the samples of a RIFF file. */
function wav(bytes) {
  let format;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const name = bytes.toString('latin1', at, at + 4);
    const size = bytes.readUInt32LE(at + 4);
    const body = bytes.subarray(at + 8, at + 8 + size);
    if (name === 'fmt ') format = { coding: body.readUInt16LE(0), channels: body.readUInt16LE(2), rate: body.readUInt32LE(4), bits: body.readUInt16LE(14) };
    if (name === 'data') {
      if (format?.bits !== 16) throw new Error(`${file}: must be 16-bit PCM`);
      return { ...format, pcm: body.subarray(0, body.length - (body.length % (2 * format.channels))) };
    }
    at += 8 + size + (size % 2);
  }
  throw new Error(`${file}: not a wav file`);
}

const { pcm, rate, channels } = wav(readFileSync(file));
const finals = { caption: 0, translation: 0, gap: 0 };
const socket = new WebSocket(url, ['subtide.v1'], { headers: { authorization: `Bearer ${token(process.env.JWT_SECRET ?? '')}` } });
let ended = false;

socket.on('open', async () => {
  const audio = { encoding: 'pcm_s16le', sample_rate: rate, channels };
  socket.send(JSON.stringify({ type: 'start', audio, source: 'en', targets: ['es'], partials: true }));
  const step = Math.round((rate * FRAME_MS) / 1000) * 2 * channels;
  const begun = performance.now();
  for (let at = 0, frame = 1; at < pcm.length && socket.readyState === WebSocket.OPEN; at += step, frame += 1) {
    socket.send(pcm.subarray(at, at + step));
    await new Promise((done) => setTimeout(done, begun + frame * FRAME_MS - performance.now()));
  }
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: 'stop' }));
  setTimeout(() => socket.terminate(), PATIENCE_MS).unref();
});
socket.on('message', (data, binary) => {
  if (binary) return;
  const event = JSON.parse(String(data));
  if (event.type === 'gap') finals.gap += 1;
  if (event.final && event.committed) finals[event.type] += 1;
  if (event.final) console.log(`${event.type} ${event.utterance}${event.target ? ` ${event.target}` : ''}: ${event.committed}`);
  if (['warning', 'error', 'gap', 'ended'].includes(event.type)) console.log(JSON.stringify(event));
  if (event.type === 'ended') ended = event.reason === 'stopped';
});
socket.on('unexpected-response', (_request, response) => {
  console.error(`refused: HTTP ${response.statusCode}`);
  process.exit(1);
});
socket.on('error', (error) => console.error(error.message));
socket.on('close', (code) => {
  const good = ended && finals.caption > 0 && finals.translation > 0 && finals.gap === 0;
  console.log(`${good ? 'good' : 'BAD'}: ${JSON.stringify(finals)}, ended in order: ${ended}, close code ${code}`);
  process.exit(good ? 0 : 1);
});
