/** In the audio thread: sound as 16-bit samples, a tenth of a second at a time. */

class Pcm extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate / 10);
    this.samples = new Int16Array(this.size);
    this.filled = 0;
    this.port.onmessage = () => this.flush();
  }

  process([[channel]]) {
    for (const sample of channel ?? []) {
      this.samples[this.filled] = Math.max(-1, Math.min(1, sample)) * 32767;
      this.filled += 1;
      if (this.filled === this.size) this.pass(this.size);
    }
    return true;
  }

  pass(count) {
    this.port.postMessage(this.samples.slice(0, count));
    this.filled = 0;
  }

  /** What is left at the end; an empty message says that it was the last. */
  flush() {
    if (this.filled) this.pass(this.filled);
    this.port.postMessage(new Int16Array(0));
  }
}

registerProcessor("pcm", Pcm);
