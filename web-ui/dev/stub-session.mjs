/**
 * Sessions of the stub server: they tell a script, word by word, by the clock of the audio that comes in.
 *
 * @import { Spoken } from './stub-scripts.mjs'
 */

import { randomUUID } from 'node:crypto';

/**
 * @typedef {object} Received
 * @property {any} start the newest
 * @property {any[]} starts all of them
 * @property {number} bytes of audio, each counted once
 * @property {any[]} messages
 * @property {number} sockets opened
 * @property {string[]} auth tokens that came in band
 * @property {number} refreshes
 *
 * @typedef {object} How May be changed while the stub runs.
 * @property {number} refuse status of every handshake; 0: none
 * @property {number} wordMs
 * @property {Spoken[][]} scripts for the sessions that are open at once
 * @property {number} speed how many times faster than speech; other than 1 the time is that of the script, not of the audio
 * @property {boolean} forget whether no session can be resumed
 * @property {number} windowMs how long one can
 */

/** @param {import('ws').WebSocket} ws @param {Map<string, Session>} sessions by token @param {Received} received @param {How} how */
export function admit(ws, sessions, received, how) {
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
      received.starts.push(message);
      session = message.resume && sessions.get(message.resume.token);
      if (message.resume && (!session || how.forget)) {
        const error = { code: 'resume_expired', message: 'too late', retryable: false, trace_id: '' };
        ws.send(JSON.stringify({ event: 1, type: 'error', ...error }), () => ws.close(4410));
        return;
      }
      const fresh = !session;
      const open = new Set([...sessions.values()].filter(({ live }) => live)).size;
      session ??= new Session(message, received, how, how.scripts[open % how.scripts.length] ?? []);
      sessions.set(session.attach(ws, fresh ? null : message.resume.last_event), session);
      if (fresh) void session.play();
    } else if (message.type === 'stop' && session) session.stopped = true;
    else if (message.type === 'auth') received.auth.push(message.token);
  });
}

const sleep = (/** @type {number} */ ms) => new Promise((done) => setTimeout(done, ms));

/** A session that goes on while it has no socket, as one of the gateway's does on the bus. */
export class Session {
  #id = randomUUID();
  /** @type {Record<string, unknown>[]} what was said, by number */
  #said = [];
  /** @type {import('ws').WebSocket | null} */
  #ws = null;
  #bytes = 0;
  /** Time that went by in the script, milliseconds. */
  #told = 0;
  #script;
  stopped = false;

  /** @param {any} start @param {Received} received @param {How} how @param {Spoken[]} script */
  constructor(start, received, how, script) {
    this.start = start;
    this.received = received;
    this.how = how;
    this.#script = script;
    this.rate = start.audio.sample_rate;
  }

  /** @param {import('ws').WebSocket} ws @param {number | null} lastEvent of a client that goes on @returns {string} the token to go on with */
  attach(ws, lastEvent) {
    this.#ws?.close(4409);
    this.#ws = ws;
    // Audio is wanted from a whole millisecond on.
    const audio_ms = Math.floor((this.#bytes / 2 / this.rate) * 1000);
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

  /** Whether somebody listens. */
  get live() {
    return this.#ws !== null && this.#ws.readyState === this.#ws.OPEN;
  }

  audioMs() {
    if (this.how.speed !== 1) return this.#told;
    return Math.floor((this.#bytes / 2 / this.rate) * 1000);
  }

  /** @param {Record<string, unknown>} message */
  say(message) {
    const event = { event: this.#said.length + 1, ...message };
    this.#said.push(event);
    if (this.#ws?.readyState === this.#ws?.OPEN) this.#ws?.send(JSON.stringify(event));
  }

  async play() {
    let utterance = 0;
    for (const spoken of this.#script) {
      if (this.stopped) break;
      await this.#pass(spoken.after);
      utterance += 1;
      await this.#speak(spoken, utterance);
    }
    while (!this.stopped) await sleep(50);
    this.say({ type: 'ended', reason: 'stopped', audio_ms: this.audioMs(), utterances: utterance });
    this.#ws?.close(1000);
  }

  /** @param {number} ms of speech */
  async #pass(ms) {
    this.#told += ms;
    await sleep(ms / this.how.speed);
  }

  /** @param {Spoken} spoken @param {number} utterance */
  async #speak(spoken, utterance) {
    const { wordMs } = this.how;
    const start_ms = this.audioMs();
    this.say({ type: 'speech_started', utterance, start_ms });
    const words = spoken.text.split(/(?<= )/);
    let revision = 0;
    for (let heard = 1; heard < words.length && !this.stopped; heard += 1) {
      await this.#pass(wordMs);
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
    await this.#pass(wordMs);
    for (const target of this.start.targets) {
      this.say({ type: 'translation', utterance, revision, target, committed: spoken.translations[target] ?? '', tail: '', final: true });
    }
  }
}
