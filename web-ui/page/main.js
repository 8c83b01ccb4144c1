/**
 * Wires the page: the host's sound and sessions → conversation → views. Everything with a rule in it lies in one of those.
 *
 * @import { Channel, Command, StreamRequest } from './host/host.js'
 * @import { Closed } from './link/link.js'
 * @import { Message } from './words/messages.js'
 * @import { ServerEvent } from './link/protocol.js'
 * @import { SignInState } from './people/sign-in.js'
 * @import { Phase } from './view/controls.js'
 */

import { Conversation } from './captions/conversation.js';
import { Delays } from './captions/latency.js';
import { gathered } from './captions/notices.js';
import { chooseHost } from './host/choose.js';
import { programMessage, sessionOnlyMessage } from './host/program.js';
import { MOST_LINES } from './host/shown.js';
import { Awake } from './sound/awake.js';
import { goneMessage, lostMessage, movedMessage, nothingMessage, of, signInMessage, soundMessage } from './sound/faults.js';
import { Sources } from './sound/sources.js';
import { Streams } from './sound/streams.js';
import { Controls } from './view/controls.js';
import { load, save } from './view/settings.js';
import { HistoryView } from './view/history.js';
import { Transcript } from './view/transcript.js';
import { closedMessage, noticeMessage, SIGNED_OUT } from './words/messages.js';
import { onSpoken } from './words/t.js';

/** Sound that goes missing in one piece is heard as a click; more than this is words. */
const LOST_TOLD_MS = 500;
/** Events that bring a notice, or end one. @type {readonly ServerEvent['type'][]} */
const NOTED = ['started', 'speech_started', 'warning', 'error', 'ended'];
/** A `lag` that is not repeated is over. */
const LAG_SHOWN_MS = 5000;

const settings = load();
const conversation = new Conversation();
const delays = new Delays();
const transcript = new Transcript(settings);
const host = chooseHost(person);
const controls = new Controls(settings, { toggle, pause, finalize: () => streams.finalize(), languages, settings: looks, signOut });
const streams = new Streams(host, { changed: showPhase, begun, event: take, anew, level, moved, lost, gone, failed, ended });
const sources = new Sources(host, settings, chosen);
const history = new HistoryView({ host, lines: () => conversation.lines(), settings, show: (key) => transcript.show(key) });
const awake = new Awake();

/** Settled once it is known whether somebody is signed in. */
let known = Promise.resolve();
/** @type {Phase} */
let phase = 'idle';
/** Whether a start waits for `known`. */
let waiting = false;
/** Whether the last start ended in a fault. */
let faulty = false;
/** Counts starts and stops, so that what a cancelled start waited for is known to be late. */
let attempt = 0;
/** Faults the page itself found, beside those the server told. @type {{ key: string, channel: Channel | null, message: Message }[]} */
let faults = [];
/** @type {Set<string>} */
const dismissed = new Set();
/** @type {{ channel: Channel, event: ServerEvent }[]} what is not on the screen yet */
let undrawn = [];
let drawing = false;
/** How loud each channel was last. @type {Record<Channel, number>} */
const peaks = { me: 0, them: 0 };
/** Sound that the machine did not deliver since the last start, milliseconds. @type {Record<Channel, number>} */
const missing = { me: 0, them: 0 };
/** How far captions are behind, as it is told. */
let behindMs = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let lagTimer;
let toldSessionOnly = false;
/** Counts faults, to name them. */
let told = 0;

/** @param {SignInState} state */
function isOut({ offered, person, unclear }) {
  return offered && !person && !unclear;
}

function showPhase() {
  const before = phase;
  const { stage } = streams;
  if (stage) phase = streams.paused && stage !== 'asking' && stage !== 'stopping' ? 'paused' : stage;
  else if (waiting) phase = 'asking';
  else if (isOut(host.person.state)) phase = 'signed_out';
  else phase = faulty ? 'failed' : 'idle';
  if (phase === 'reconnecting') {
    clearTimeout(lagTimer);
    behindMs = 0;
    controls.keeping();
  } else if (before === 'reconnecting' || !stage) showLag(0);
  awake.want(stage !== null && stage !== 'stopping');
  controls.phase(phase);
  tell();
}

function toggle() {
  if (phase === 'signed_out') void host.person.enter().catch((error) => fault(null, signInMessage(error)));
  else if (phase === 'idle' || phase === 'failed') void start();
  else stop();
}

function pause() {
  streams.pause(!streams.paused);
  if (!streams.paused) return;
  for (const channel of streams.channels) {
    conversation.paused(channel);
    showLevel(channel, 0);
  }
}

/** @param {SignInState} state */
function person(state) {
  controls.person(state);
  if (state.person && state.session_only && !toldSessionOnly) fault(null, sessionOnlyMessage(), 'program');
  toldSessionOnly ||= Boolean(state.person && state.session_only);
  showPhase();
}

async function signOut() {
  stop();
  await host.person.end();
}

async function start() {
  attempt += 1;
  const mine = attempt;
  faults = faults.filter(({ key }) => key.startsWith('program'));
  Object.assign(missing, { me: 0, them: 0 });
  faulty = false;
  for (const { key } of conversation.notices()) dismissed.add(key);
  showNotices();
  if (settings.channels.length === 0) return fault(null, nothingMessage());
  waiting = true;
  showPhase();
  // It could not be asked, or not for certain: perhaps now.
  if (host.person.state.unclear) known = host.person.begin();
  await known;
  if (mine !== attempt) return;
  waiting = false;
  if (!isOut(host.person.state)) {
    conversation.begin();
    transcript.follow();
    for (const channel of settings.channels) streams.open(request(channel));
  }
  showPhase();
}

function stop() {
  attempt += 1;
  waiting = false;
  streams.stop();
}

/** @param {Channel} channel @returns {StreamRequest} */
function request(channel) {
  const { source, targets, glossary, devices } = settings;
  return { channel, device: devices[channel], source, targets, glossary };
}

function languages() {
  const { source, targets, glossary } = settings;
  conversation.expect(targets);
  streams.update({ source, targets, glossary });
  redraw();
  tell();
}

/** What the reader chose may show on the lines, or was chosen in another window. */
function looks() {
  sources.dress();
  redraw();
}

/** The reader chose another thing to be heard. @param {Channel} channel @param {'channel' | 'device'} what */
function chosen(channel, what) {
  save(settings);
  if (streams.channels.length === 0) return;
  if (what === 'device') streams.reopen(request(channel));
  else if (settings.channels.includes(channel)) streams.open(request(channel));
  else streams.stop(channel);
}

/** @param {Channel} channel */
function begun(channel) {
  conversation.expect(settings.targets);
  conversation.open(channel, Date.now());
  delays.begin(channel);
  showLatency();
}

/** @param {Channel} channel @param {number} peak @param {number} heardMs */
function level(channel, peak, heardMs) {
  conversation.heard(channel, Date.now(), heardMs);
  // Sound from before the pause may still come after it.
  if (streams.paused) conversation.paused(channel);
  delays.heard(channel, heardMs, performance.now());
  if (!document.hidden && !streams.paused) showLevel(channel, peak);
}

/** @param {Channel} channel @param {number} peak */
function showLevel(channel, peak) {
  peaks[channel] = peak;
  controls.level(Math.max(peaks.me, peaks.them));
  sources.level(channel, peak);
}

/** The session was lost, and another begins with the sound that is left. @param {Channel} channel @param {number} fromMs */
function anew(channel, fromMs) {
  conversation.breakOff(channel, fromMs);
  conversation.expect(settings.targets);
  delays.rebase(channel, fromMs);
  redraw();
  tell();
}

/** @param {Channel} channel @param {string} label */
function moved(channel, label) {
  fault(channel, movedMessage(label));
  void sources.refresh();
}

/** @param {Channel} channel @param {number} fromMs @param {number} toMs */
function lost(channel, fromMs, toMs) {
  missing[channel] += toMs - fromMs;
  if (missing[channel] < LOST_TOLD_MS) return;
  const key = `lost ${attempt} ${channel}`;
  faults = [...faults.filter((held) => held.key !== key), { key, channel, message: lostMessage(missing[channel]) }];
  showNotices();
}

/** @param {Channel} channel */
function gone(channel) {
  fault(channel, goneMessage(channel));
  void sources.refresh();
}

/** @param {Channel} channel @param {import('./sound/capture.js').SoundFault} why */
function failed(channel, why) {
  faulty = true;
  fault(channel, soundMessage(host.kind, channel, why));
}

/** @param {Channel} channel @param {Closed} why */
function ended(channel, why) {
  conversation.closeChannel(channel);
  showLevel(channel, 0);
  const message = why.cause === 'unauthorized' && host.person.state.offered ? SIGNED_OUT : closedMessage(why);
  if (message || why.cause === 'error') faulty = true;
  if (message) fault(channel, message);
  showNotices();
  redraw();
  tell();
  // Nothing more comes: what is to be kept should not wait for a page that may be about to close.
  if (!streams.stage) history.write();
}

/** @param {Channel | null} channel null for the page as a whole @param {Message} message @param {'start' | 'program'} [of] whose it is: those of a start go with the next */
function fault(channel, message, of = 'start') {
  told += 1;
  faults.push({ key: `${of} ${told}`, channel, message });
  showNotices();
}

/** @param {Channel} channel @param {ServerEvent} event */
function take(channel, event) {
  const changed = conversation.apply(channel, event);
  // Names of devices are told once one was allowed.
  if (event.type === 'started') void sources.refresh();
  if (event.type === 'started') controls.limit(event.limits.max_targets);
  if (NOTED.includes(event.type)) showNotices();
  if (event.type === 'lag' && phase !== 'reconnecting') showLag(conversation.behindMs);
  if (!changed) return;
  // A hidden page is not drawn, so nothing is late there.
  if (!document.hidden && (event.type === 'caption' || event.type === 'translation')) undrawn.push({ channel, event });
  redraw();
  tell();
}

/** To whoever draws captions over something else: at once, since a hidden page draws nothing. */
function tell() {
  if (attempt === 0) return;
  history.take();
  const labels = conversation.channels.length > 1 || streams.channels.length > 1;
  host.show({ lines: conversation.newest(MOST_LINES), targets: settings.targets, labels, state: phase, behindMs });
}

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    transcript.draw(conversation.lines(), settings.targets);
    for (const { channel, event } of undrawn) measure(channel, event, performance.now());
    undrawn = [];
    showLatency();
  });
}

/** @param {Channel} channel @param {ServerEvent} event just drawn @param {number} now */
function measure(channel, event, now) {
  if (event.type === 'caption') delays.drawn(channel, 'source', event.end_ms, now);
  else if (event.type === 'translation') delays.drawn(channel, 'target', conversation.endOf(channel, event.utterance, event.revision), now);
}

function showLatency() {
  controls.latency(delays.median('source'), delays.median('target'));
}

/** @param {number} ms 0 when captions keep up */
function showLag(ms) {
  clearTimeout(lagTimer);
  behindMs = ms;
  controls.lag(ms);
  if (ms > 0) lagTimer = setTimeout(() => { showLag(0); tell(); }, LAG_SHOWN_MS);
}

/** What is true of both channels is said once, and what is true of one of two says of which. */
function showNotices() {
  // A token about to end is this page's own affair.
  const server = conversation.notices().filter(({ code }) => code !== 'token_expiring').map((notice) => ({ key: notice.key, channel: notice.channel, message: noticeMessage(notice) }));
  const open = gathered([...faults, ...server].filter(({ key }) => !dismissed.has(key)));
  const two = settings.channels.length > 1;
  const said = open.map(({ key, channel, message }) => ({ key, message: two && channel ? of(message, channel, host.kind) : message }));
  controls.notices(said, (key) => {
    for (const each of open.find((notice) => notice.key === key)?.keys ?? []) dismissed.add(each);
    showNotices();
  });
}

/** @param {Command} command */
function command(command) {
  if (command === 'toggle') toggle();
  else if (command === 'pause') pause();
  else if (command === 'settings' || command === 'history') document.getElementById(`open-${command}`)?.click();
}

onSpoken(() => {
  host.speak();
  looks();
  showNotices();
});
globalThis.addEventListener('online', () => streams.hurry());
document.addEventListener('visibilitychange', () => document.hidden || redraw());
host.commands(command);
host.speak();
host.notices((notice) => {
  const message = programMessage(notice);
  if (message) fault(null, message, 'program');
});
controls.phase('idle');
known = host.person.begin();
