/**
 * Streams a wav file (PCM s16le) in real time through one session or several, each with a freshly made HS256 token, and says what came
 * back: `lost` are utterances that were said and got no final caption, or no final translation; a gap is a loss as well.
 * Ends with 1 where something was lost or a session did not end in order. Needs the packages of web-ui (`npm ci` there).
 *
 * JWT_SECRET=... node try-stream.mjs ws://127.0.0.1:5026/v1/stream file.wav      or with SUBTIDE_TOKEN, a token or API key
 *   --sessions N    so many at once, each begun a little later than the one before (1)
 *   --loops N       the file so many times (1)
 *   --first         ends all at the first words of the first caption, and says when they came
 *   --figures NAME  prints `FIGURE NAME_... value` lines
 *   --keep FILE     writes what each utterance became
 *   --like FILE     counts the captions that are not those in FILE, of a run with the same --loops
 */

import { createHmac } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const { WebSocket } = createRequire(new URL('../web-ui/package.json', import.meta.url))('ws');
const { values: options, positionals: [url, file] } = parseArgs({
  allowPositionals: true,
  options: {
    sessions: { type: 'string', default: '1' },
    loops: { type: 'string', default: '1' },
    first: { type: 'boolean', default: false },
    figures: { type: 'string' },
    keep: { type: 'string' },
    like: { type: 'string' },
  },
});
const FRAME_MS = 100;
/** Between the beginnings of two sessions, so that they do not all pause at once. */
const APART_MS = 700;
/** From the end of the file to the last word owed: more than a final may take until it becomes a gap. */
const PATIENCE_MS = 90_000;
const TARGET = 'es';

function token(secret, subject) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: subject, exp: Math.floor(Date.now() / 1000) + 1800 })}`;
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
const step = Math.round((rate * FRAME_MS) / 1000) * 2 * channels;
const begun = performance.now();
let first;

/** One session: what was said in it (`ended` true when in order), by number of the utterance. */
function session(name) {
  const utterances = new Map();
  const result = { name, utterances, gaps: 0, doubled: 0, ended: false, worst_ms: 0, faults: [] };
  const of = (event) => {
    if (!utterances.has(event.utterance)) utterances.set(event.utterance, { caption: null, translation: null });
    return utterances.get(event.utterance);
  };
  const socket = new WebSocket(url, ['subtide.v1'], { headers: { authorization: `Bearer ${process.env.SUBTIDE_TOKEN ?? token(process.env.JWT_SECRET ?? '', name)}` } });
  socket.on('open', async () => {
    const audio = { encoding: 'pcm_s16le', sample_rate: rate, channels };
    socket.send(JSON.stringify({ type: 'start', audio, source: 'en', targets: [TARGET], partials: true }));
    const opened = performance.now();
    let frame = 0;
    for (let loop = 0; loop < Number(options.loops); loop += 1) {
      for (let at = 0; at < pcm.length && socket.readyState === WebSocket.OPEN; at += step) {
        socket.send(pcm.subarray(at, at + step));
        frame += 1;
        await sleep(Math.max(0, opened + frame * FRAME_MS - performance.now()));
      }
    }
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: 'stop' }));
    setTimeout(() => socket.terminate(), PATIENCE_MS).unref();
  });
  socket.on('message', (data, binary) => {
    if (binary) return;
    const event = JSON.parse(String(data));
    if (event.type === 'caption' && !first && (event.committed || event.tail)) {
      first = performance.now() - begun;
      if (options.first) socket.terminate();
    }
    if (event.type === 'speech_started') of(event);
    if (event.type === 'speech_ended') of(event).ended_at = performance.now();
    if (event.type === 'gap') {
      of(event);
      result.gaps += 1;
    }
    if (event.final && ['caption', 'translation'].includes(event.type)) {
      const utterance = of(event);
      if (utterance[event.type] !== null) result.doubled += 1;
      utterance[event.type] = event.committed;
      if (event.type === 'caption') result.worst_ms = Math.max(result.worst_ms, performance.now() - (utterance.ended_at ?? performance.now()));
    }
    if (['warning', 'error', 'gap'].includes(event.type)) result.faults.push(JSON.stringify(event));
    if (event.type === 'ended') result.ended = event.reason === 'stopped';
  });
  socket.on('unexpected-response', (_request, response) => {
    result.faults.push(`refused: HTTP ${response.statusCode}`);
    socket.terminate();
  });
  socket.on('error', (error) => result.faults.push(error.message));
  return new Promise((resolve) => socket.on('close', () => resolve(result)));
}

/** Utterances without a final caption, or with words and no final translation of them. */
const lost = ({ utterances }) => [...utterances.values()].filter((said) => said.caption === null || said.translation === null).length;
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const texts = (result) => [...result.utterances.values()].map(({ caption, translation }) => [caption, translation]);

const running = [];
for (let n = 0; n < Number(options.sessions); n += 1) {
  if (n > 0) await sleep(APART_MS);
  running.push(session(`try-${process.pid}-${n + 1}`));
}
const results = await Promise.all(running);
const figure = (name, value) => options.figures && console.log(`FIGURE ${options.figures}_${name} ${value}`);
if (options.first) {
  figure('seconds', first === undefined ? 'none' : (first / 1000).toFixed(2));
  for (const fault of results.flatMap((result) => result.faults)) console.error(fault);
  process.exit(first === undefined ? 1 : 0);
}

for (const result of results) {
  const state = `${result.utterances.size} utterances, ${lost(result)} lost, ${result.gaps} gaps, slowest final ${Math.round(result.worst_ms)} ms`;
  console.log(`${result.name}: ${state}, ended in order: ${result.ended}`);
  for (const fault of result.faults) console.log(`  ${fault}`);
}
if (options.keep) writeFileSync(options.keep, JSON.stringify(results.map(texts)));
figure('sessions', results.length);
figure('utterances', sum(results.map((result) => result.utterances.size)));
figure('utterances_lost', sum(results.map(lost)));
figure('gaps', sum(results.map((result) => result.gaps)));
figure('finals_doubled', sum(results.map((result) => result.doubled)));
figure('sessions_broken', results.filter((result) => !result.ended).length);
figure('slowest_final_seconds', (Math.max(...results.map((result) => result.worst_ms)) / 1000).toFixed(2));
if (options.like) {
  const [wanted] = JSON.parse(readFileSync(options.like, 'utf8'));
  const unlike = (result) => {
    const got = texts(result);
    const longest = Math.max(got.length, wanted.length);
    return [...Array(longest).keys()].filter((n) => got[n]?.[0] !== wanted[n]?.[0]);
  };
  for (const result of results) {
    for (const n of unlike(result)) console.log(`  ${result.name} ${n + 1}: ${JSON.stringify(texts(result)[n]?.[0])} is not ${JSON.stringify(wanted[n]?.[0])}`);
  }
  figure('captions_unlike', sum(results.map((result) => unlike(result).length)));
}
const good = results.every((result) => result.ended && result.utterances.size > 0 && lost(result) === 0 && result.gaps === 0 && result.doubled === 0);
console.log(good ? 'good' : 'BAD');
process.exit(good ? 0 : 1);
