/**
 * Wires the page: microphone → link → captions → view. Everything with a rule in it lies in one of those.
 *
 * @import { Phase } from './view/controls.js'
 * @import { Frame } from './sound/capture.js'
 * @import { Closed, LinkState } from './link/link.js'
 * @import { Message } from './words/messages.js'
 * @import { ServerEvent } from './link/protocol.js'
 * @import { SignInState } from './people/sign-in.js'
 */

import { Captions } from './captions/captions.js';
import { Capture, CaptureError } from './sound/capture.js';
import { Controls } from './view/controls.js';
import { AudioClock, Latency } from './captions/latency.js';
import { Link } from './link/link.js';
import { captureMessage, closedMessage, MICROPHONE_GONE, noticeMessage, SIGNED_OUT } from './words/messages.js';
import { STREAM_PATH } from './link/protocol.js';
import { load } from './view/settings.js';
import { SIGN_IN_PATH, SignIn } from './people/sign-in.js';
import { Transcript } from './view/transcript.js';

/** A `lag` that is not repeated is over. */
const LAG_SHOWN_MS = 5000;

const settings = load();
const captions = new Captions();
const transcript = new Transcript();
const controls = new Controls(settings, { toggle, finalize: () => link?.finalize(), languages, signOut });
const signIn = new SignIn(person);
/** Settled once it is known whether somebody is signed in. */
let known = Promise.resolve();
const audioClock = new AudioClock();
const latency = { source: new Latency(), target: new Latency() };

/** @type {Link | null} */
let link = null;
/** @type {Capture | null} */
let capture = null;
/** @type {Phase} */
let phase = 'idle';
/** Counts starts, so that an answer to a cancelled one is known to be late. */
let attempt = 0;
/** Faults the page itself found, beside those the server told. @type {{ key: string, message: Message }[]} */
let faults = [];
/** @type {Set<string>} */
const dismissed = new Set();
/** @type {ServerEvent[]} events whose words are not on the screen yet */
let undrawn = [];
let drawing = false;
/** Since the session's first sample. */
let samplesSent = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let lagTimer;

/** @param {Phase} next */
function to(next) {
  phase = next;
  controls.phase(next);
}

function toggle() {
  if (phase === 'signed_out') location.assign(SIGN_IN_PATH);
  else if (phase === 'idle' || phase === 'failed') void start();
  else void stop();
}

/** @param {SignInState} state */
function person(state) {
  controls.person(state);
  const out = state.offered && !state.person && !state.unclear;
  if (out && (phase === 'idle' || phase === 'failed')) to('signed_out');
  else if (!out && phase === 'signed_out') to('idle');
}

async function signOut() {
  if (link) await stop();
  await signIn.end();
}

async function start() {
  attempt += 1;
  const mine = attempt;
  faults = [];
  for (const { key } of captions.notices()) dismissed.add(key);
  showNotices();
  to('asking');
  await known;
  if (mine !== attempt) return;
  if (signIn.state.offered && !signIn.state.person && !signIn.state.unclear) {
    to('idle');
    person(signIn.state);
    return;
  }
  try {
    const opened = await Capture.open();
    if (mine !== attempt) {
      await opened.close();
      return;
    }
    capture = opened;
  } catch (error) {
    if (mine !== attempt) return;
    fail(captureMessage(error instanceof CaptureError ? error.fault : 'failed'));
    return;
  }
  connect(capture);
}

/** @param {Capture} microphone */
function connect(microphone) {
  audioClock.clear();
  latency.source.clear();
  latency.target.clear();
  controls.latency(null, null);
  samplesSent = 0;
  captions.expect(settings.targets);
  transcript.follow();
  const { source, targets } = settings;
  const audio = /** @type {const} */ ({ encoding: 'pcm_s16le', sample_rate: microphone.sampleRate, channels: 1 });
  const url = new URL(STREAM_PATH, location.href.replace(/^http/, 'ws')).href;
  link = new Link(url, { type: 'start', audio, source, targets, partials: true }, { state: linkState, event: take, anew, closed }, signIn);
  microphone.listen(
    (frame) => heard(frame, microphone.sampleRate),
    () => {
      faults.push({ key: `microphone ${attempt}`, message: MICROPHONE_GONE });
      showNotices();
      void stop();
    },
  );
}

/** @param {Frame} frame @param {number} sampleRate */
function heard({ pcm, peak, samples }, sampleRate) {
  samplesSent += samples;
  audioClock.mark((samplesSent / sampleRate) * 1000, performance.now());
  link?.send(pcm);
  if (phase === 'open' || phase === 'connecting' || phase === 'reconnecting') controls.level(peak);
}

/** Lets the microphone go, and waits for the words owed. */
async function stop() {
  attempt += 1;
  const held = capture;
  capture = null;
  if (phase === 'asking') to('idle');
  else to('stopping');
  await held?.close();
  link?.stop();
}

function languages() {
  captions.expect(settings.targets);
  if (phase === 'open' || phase === 'reconnecting') link?.update({ source: settings.source, targets: settings.targets });
}

/** @param {LinkState} state */
function linkState(state) {
  if (phase === 'stopping') return;
  if (state !== 'connecting' && state !== 'open' && state !== 'reconnecting') return;
  if (state === 'reconnecting') {
    clearTimeout(lagTimer);
    controls.keeping();
  } else if (phase === 'reconnecting') controls.lag(0);
  to(state);
}

/** The session was lost, and another begins with the sound that is left. @param {number} fromMs */
function anew(fromMs) {
  captions.breakOff(fromMs);
  captions.expect(settings.targets);
  const rate = capture?.sampleRate;
  if (rate) samplesSent -= Math.round((fromMs / 1000) * rate);
  audioClock.rebase(fromMs);
  redraw();
}

/** @param {Closed} why */
function closed(why) {
  link = null;
  clearTimeout(lagTimer);
  captions.close();
  controls.lag(0);
  const message = why.cause === 'unauthorized' && signIn.state.offered ? SIGNED_OUT : closedMessage(why);
  void capture?.close();
  capture = null;
  attempt += 1;
  if (message) faults.push({ key: `closed ${attempt}`, message });
  to(message || why.cause === 'error' ? 'failed' : 'idle');
  person(signIn.state);
  showNotices();
  redraw();
}

/** @param {Message} message */
function fail(message) {
  faults.push({ key: `fault ${attempt}`, message });
  to('failed');
  showNotices();
}

/** @param {ServerEvent} event */
function take(event) {
  const changed = captions.apply(event);
  if (event.type === 'started') controls.limit(event.limits.max_targets);
  if (event.type === 'warning' || event.type === 'error' || event.type === 'ended') showNotices();
  if (event.type === 'lag' && phase !== 'reconnecting') showLag();
  if (!changed) return;
  // A hidden page is not drawn, so nothing is late there.
  if (!document.hidden && (event.type === 'caption' || event.type === 'translation')) undrawn.push(event);
  redraw();
}

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    transcript.draw(captions.lines(), settings.targets);
    for (const event of undrawn) measure(event, performance.now());
    undrawn = [];
    controls.latency(latency.source.median(), latency.target.median());
  });
}

/** @param {ServerEvent} event just drawn @param {number} now */
function measure(event, now) {
  if (event.type === 'caption') note(latency.source, event.end_ms, now);
  else if (event.type === 'translation') note(latency.target, captions.endOf(event.utterance, event.revision), now);
}

/** @param {Latency} into @param {number | null} endMs @param {number} now */
function note(into, endMs, now) {
  const heardAt = endMs === null ? null : audioClock.heardAt(endMs);
  if (heardAt !== null) into.add(now - heardAt);
}

function showLag() {
  controls.lag(captions.behindMs);
  clearTimeout(lagTimer);
  lagTimer = setTimeout(() => controls.lag(0), LAG_SHOWN_MS);
}

function showNotices() {
  // A token about to end is this page's own affair.
  const told = captions.notices().filter(({ code }) => code !== 'token_expiring').map((notice) => ({ key: notice.key, message: noticeMessage(notice) }));
  controls.notices([...faults, ...told].filter(({ key }) => !dismissed.has(key)), (key) => {
    dismissed.add(key);
    showNotices();
  });
}

globalThis.addEventListener('online', () => link?.hurry());
controls.phase('idle');
known = signIn.begin();
