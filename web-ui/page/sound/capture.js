/**
 * A microphone, or the sound of a tab or a screen, as PCM frames: mono s16le, about 100 ms each, at the audio context's own
 * rate (the gateway resamples). No DOM beyond the audio API, no network.
 *
 * @import { Channel } from '../host/host.js'
 */

import { MAX_SAMPLE_RATE, MIN_SAMPLE_RATE } from '../link/protocol.js';

/**
 * Off, because recognisers are trained on sound as it is, and echo cancellation eats the other side of a call that
 * comes out of loudspeakers.
 */
const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** How long the audio thread may take to give the last frame; a suspended one never does. */
const FLUSH_TIMEOUT_MS = 300;

/**
 * @typedef {object} Frame
 * @property {ArrayBuffer} pcm s16le, mono
 * @property {number} peak loudest sample of the frame, 0 to 1
 * @property {number} samples
 *
 * @typedef {'insecure' | 'unsupported' | 'denied' | 'missing' | 'busy' | 'failed'} CaptureFault
 *
 * @typedef {CaptureFault | 'unshared'} SoundFault `unshared`: something is shared, but not its sound.
 *
 * @typedef {object} CaptureListener
 * @property {(frame: Frame) => void} frame
 * @property {(label: string) => void} moved The device went away, and the system's default one gives the sound now.
 * @property {(fault: SoundFault) => void} gone The device went away, and there is no other.
 */

/** Why there is no sound to caption. */
export class CaptureError extends Error {
  /** @param {SoundFault} fault @param {unknown} cause */
  constructor(fault, cause) {
    super(`no sound: ${fault}`, { cause });
    this.fault = fault;
  }
}

export class Capture {
  #channel;
  #stream;
  #context;
  #node;
  #source;
  #paused = false;
  #closed = false;
  /** @type {CaptureListener | null} */
  #listener = null;
  #emptied = () => {};

  /** Whether the device asked for is not there, and another one gives the sound. */
  moved;

  /** @param {Channel} channel @param {Found} found @param {AudioContext} context @param {AudioWorkletNode} node */
  constructor(channel, { stream, moved }, context, node) {
    this.#channel = channel;
    this.#stream = stream;
    this.#context = context;
    this.#node = node;
    this.#source = context.createMediaStreamSource(stream);
    this.#source.connect(node);
    this.moved = moved;
  }

  /** Samples per second of the frames. */
  get sampleRate() {
    return this.#context.sampleRate;
  }

  /** What the browser calls the device. */
  get label() {
    return this.#stream.getAudioTracks()[0]?.label ?? '';
  }

  /**
   * Asks for the sound and begins to listen; frames are given out once `listen` is called. For `them` the reader chooses
   * what to share, which a browser allows only right after a click or a key.
   * @param {Channel} channel
   * @param {string} device empty for the system's default; of no meaning for `them`
   * @returns {Promise<Capture>}
   * @throws {CaptureError}
   */
  static async open(channel, device) {
    if (!globalThis.isSecureContext) throw new CaptureError('insecure', null);
    if (!navigator.mediaDevices || !globalThis.AudioWorkletNode) throw new CaptureError('unsupported', null);
    const found = channel === 'me' ? await microphone(device) : await shared();
    try {
      const context = await usableContext();
      const node = new AudioWorkletNode(context, 'subtide-capture', { numberOfOutputs: 0 });
      return new Capture(channel, found, context, node);
    } catch (error) {
      for (const track of found.stream.getTracks()) track.stop();
      throw new CaptureError('failed', error);
    }
  }

  /** @param {CaptureListener} listener */
  listen(listener) {
    this.#listener = listener;
    this.#node.port.onmessage = ({ data }) => {
      if (!data) this.#emptied();
      else if (!this.#paused) listener.frame(data);
    };
    this.#watch();
    // A browser stops the clock of the audio for reasons of its own, such as a telephone call.
    this.#context.onstatechange = () => this.#run();
    this.#run();
  }

  /** While paused no frame is given out; what is shared stays shared. @param {boolean} paused */
  pause(paused) {
    this.#paused = paused;
    for (const track of this.#stream.getTracks()) track.enabled = !paused;
    this.#run();
  }

  /** Gives out the frame begun, and lets the device go. */
  async close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#context.onstatechange = null;
    await new Promise((done) => {
      this.#emptied = () => done(undefined);
      this.#node.port.postMessage('flush');
      setTimeout(done, FLUSH_TIMEOUT_MS);
    });
    this.#node.port.onmessage = null;
    letGo(this.#stream);
    await this.#context.close();
  }

  #run() {
    if (this.#closed) return;
    const wanted = this.#paused ? 'suspended' : 'running';
    if (this.#context.state === wanted) return;
    void (this.#paused ? this.#context.suspend() : this.#context.resume()).catch(() => {});
  }

  #watch() {
    for (const track of this.#stream.getTracks()) track.onended = () => void this.#ended();
  }

  async #ended() {
    letGo(this.#stream);
    if (this.#channel === 'them') {
      this.#listener?.gone('missing');
      return;
    }
    try {
      const { stream } = await microphone('');
      if (this.#closed) return letGo(stream);
      this.#source.disconnect();
      this.#stream = stream;
      this.#source = this.#context.createMediaStreamSource(stream);
      this.#source.connect(this.#node);
      this.pause(this.#paused);
      this.#watch();
      this.#listener?.moved(this.label);
    } catch (error) {
      if (!this.#closed) this.#listener?.gone(error instanceof CaptureError ? error.fault : 'failed');
    }
  }
}

/** @typedef {{ stream: MediaStream, moved: boolean }} Found */

/** @param {string} device @returns {Promise<Found>} @throws {CaptureError} */
async function microphone(device) {
  const plain = { ...PLAIN, channelCount: 1 };
  try {
    if (device) return { stream: await navigator.mediaDevices.getUserMedia({ audio: { ...plain, deviceId: { exact: device } } }), moved: false };
  } catch (error) {
    // It may be unplugged; whatever else is wrong, the default one may still do.
    if (faultOf(error) !== 'missing') throw new CaptureError(faultOf(error), error);
  }
  try {
    return { stream: await navigator.mediaDevices.getUserMedia({ audio: plain }), moved: device !== '' };
  } catch (error) {
    throw new CaptureError(faultOf(error), error);
  }
}

/** What a tab or the machine plays. @returns {Promise<Found>} @throws {CaptureError} */
async function shared() {
  if (!navigator.mediaDevices.getDisplayMedia) throw new CaptureError('unsupported', null);
  // Pictures have to be asked for as well; and hints that a browser does not know are passed over.
  const wishes = { audio: { ...PLAIN, suppressLocalAudioPlayback: false }, video: true, systemAudio: 'include', windowAudio: 'system', surfaceSwitching: 'include' };
  const stream = await navigator.mediaDevices.getDisplayMedia(wishes).catch((error) => {
    throw new CaptureError(error instanceof TypeError ? 'unsupported' : faultOf(error), error);
  });
  for (const track of stream.getVideoTracks()) {
    track.stop();
    stream.removeTrack(track);
  }
  if (stream.getAudioTracks().length === 0) throw new CaptureError('unshared', null);
  return { stream, moved: false };
}

/** @param {MediaStream} stream */
function letGo(stream) {
  for (const track of stream.getTracks()) {
    track.onended = null;
    track.stop();
  }
}

/** @returns {Promise<AudioContext>} at a rate the server takes */
async function usableContext() {
  let context = new AudioContext({ latencyHint: 'interactive' });
  if (context.sampleRate < MIN_SAMPLE_RATE || context.sampleRate > MAX_SAMPLE_RATE) {
    await context.close();
    context = new AudioContext({ latencyHint: 'interactive', sampleRate: MAX_SAMPLE_RATE });
  }
  await context.audioWorklet.addModule(new URL('./capture-worklet.js', import.meta.url));
  return context;
}

/** @param {unknown} error of getUserMedia or getDisplayMedia @returns {CaptureFault} */
function faultOf(error) {
  switch (error instanceof DOMException ? error.name : '') {
    case 'NotAllowedError':
    case 'SecurityError':
      return 'denied';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'missing';
    case 'NotReadableError':
    case 'AbortError':
      return 'busy';
    default:
      return 'failed';
  }
}
