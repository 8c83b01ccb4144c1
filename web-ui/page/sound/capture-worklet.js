/** Runs on the audio thread: mixes to mono and gathers samples into frames of s16le. Any message to it asks for the rest. */

const FRAME_MS = 100;

class CaptureProcessor extends AudioWorkletProcessor {
  #size = Math.round((sampleRate * FRAME_MS) / 1000);
  #frame = new DataView(new ArrayBuffer(this.#size * 2));
  #filled = 0;
  #peak = 0;

  constructor() {
    super();
    this.port.onmessage = () => {
      if (this.#filled > 0) this.#give();
      this.port.postMessage(null);
    };
  }

  /** @param {Float32Array[][]} inputs @returns {boolean} */
  process(inputs) {
    const channels = inputs[0] ?? [];
    const length = channels[0]?.length ?? 0;
    for (let i = 0; i < length; i += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[i] ?? 0;
      this.#put(sum / channels.length);
    }
    return true;
  }

  /** @param {number} sample -1 to 1; louder ones are clipped */
  #put(sample) {
    const level = Math.max(-1, Math.min(1, sample));
    this.#peak = Math.max(this.#peak, Math.abs(level));
    this.#frame.setInt16(this.#filled * 2, Math.max(-32768, Math.min(32767, Math.round(level * 32768))), true);
    this.#filled += 1;
    if (this.#filled === this.#size) this.#give();
  }

  #give() {
    const pcm = this.#frame.buffer.slice(0, this.#filled * 2);
    this.port.postMessage({ pcm, peak: this.#peak, samples: this.#filled }, [pcm]);
    this.#filled = 0;
    this.#peak = 0;
  }
}

registerProcessor('subtide-capture', CaptureProcessor);
