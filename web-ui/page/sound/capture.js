/**
 * The microphone as PCM frames: mono s16le, about 100 ms each, at the audio device's own rate (the gateway resamples).
 * No DOM beyond the audio API, no network.
 */

import { MAX_SAMPLE_RATE, MIN_SAMPLE_RATE } from '../link/protocol.js';

/**
 * Off, because recognisers are trained on sound as it is, and echo cancellation eats the other side of a call that
 * comes out of loudspeakers.
 */
const PLAIN = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** How long the audio thread may take to give the last frame; a suspended one never does. */
const FLUSH_TIMEOUT_MS = 300;

/**
 * @typedef {object} Frame
 * @property {ArrayBuffer} pcm s16le, mono
 * @property {number} peak loudest sample of the frame, 0 to 1
 * @property {number} samples
 *
 * @typedef {'insecure' | 'unsupported' | 'denied' | 'missing' | 'busy' | 'failed'} CaptureFault
 */

/** Why there is no sound to caption. */
export class CaptureError extends Error {
  /** @param {CaptureFault} fault @param {unknown} cause */
  constructor(fault, cause) {
    super(`microphone ${fault}`, { cause });
    this.fault = fault;
  }
}

export class Capture {
  #stream;
  #context;
  #node;
  #emptied = () => {};

  /** @param {MediaStream} stream @param {AudioContext} context @param {AudioWorkletNode} node */
  constructor(stream, context, node) {
    this.#stream = stream;
    this.#context = context;
    this.#node = node;
  }

  /** Samples per second of the frames. */
  get sampleRate() {
    return this.#context.sampleRate;
  }

  /**
   * Asks for the microphone and begins to listen; frames are given out once `listen` is called.
   * @returns {Promise<Capture>}
   * @throws {CaptureError}
   */
  static async open() {
    if (!globalThis.isSecureContext) throw new CaptureError('insecure', null);
    if (!navigator.mediaDevices || !globalThis.AudioWorkletNode) throw new CaptureError('unsupported', null);
    const stream = await navigator.mediaDevices.getUserMedia({ audio: PLAIN }).catch((error) => {
      throw new CaptureError(faultOf(error), error);
    });
    try {
      const context = await usableContext();
      const node = new AudioWorkletNode(context, 'subtide-capture', { numberOfOutputs: 0 });
      context.createMediaStreamSource(stream).connect(node);
      return new Capture(stream, context, node);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      throw new CaptureError('failed', error);
    }
  }

  /** @param {(frame: Frame) => void} frame @param {() => void} ended called when the device goes away */
  listen(frame, ended) {
    this.#node.port.onmessage = ({ data }) => (data ? frame(data) : this.#emptied());
    for (const track of this.#stream.getTracks()) track.onended = ended;
    void this.#context.resume();
  }

  /** Gives out the frame begun, and lets the microphone go. */
  async close() {
    await new Promise((done) => {
      this.#emptied = () => done(undefined);
      this.#node.port.postMessage('flush');
      setTimeout(done, FLUSH_TIMEOUT_MS);
    });
    this.#node.port.onmessage = null;
    for (const track of this.#stream.getTracks()) {
      track.onended = null;
      track.stop();
    }
    await this.#context.close();
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

/** @param {unknown} error of getUserMedia @returns {CaptureFault} */
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
