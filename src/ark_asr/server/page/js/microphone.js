/** The microphone as 16-bit mono samples. */

import {address, Problem} from "./server.js";

/** What the models hear; a browser that cannot resample gives its own rate, and the server does it. */
const RATE = 16_000;
// A browser that finds nothing to play sound with may never start the audio thread, without an error.
const STARTS_WITHIN = 5000;

/** Browsers give no microphone to pages that came over plain http from another machine. */
export const allowed = () => Boolean(navigator.mediaDevices?.getUserMedia);

export async function microphones() {
  const devices = await navigator.mediaDevices?.enumerateDevices() ?? [];
  return devices.filter((device) => device.kind === "audioinput" && device.label);
}

/**
 * Opens a microphone; `onSamples(Int16Array)` is called ten times a second, `onLost()` if it is
 * unplugged.
 *
 * Resolves to `{rate, stop}`; `stop` resolves when the last samples have been given.
 */
export async function listen(deviceId, onSamples, onLost) {
  const stream = await navigator.mediaDevices.getUserMedia({audio: {
    deviceId: deviceId ? {ideal: deviceId} : undefined,
    channelCount: 1,
    // Both are made for telephones and eat syllables of a speaker at the far end of a room.
    echoCancellation: false,
    noiseSuppression: false,
    autoGainControl: true,
  }});
  const {context, source} = connected(stream);
  try {
    await started(context);
  } catch (error) { // nobody listens: the microphone must not stay open
    stream.getTracks().forEach((track) => track.stop());
    context.close();
    throw error;
  }
  const node = new AudioWorkletNode(context, "pcm", {channelCount: 1, channelCountMode: "explicit"});
  let ended;
  const end = new Promise((resolve) => { ended = resolve; });
  node.port.onmessage = ({data}) => (data.length ? onSamples(data) : ended());
  source.connect(node).connect(context.destination); // it puts out silence; unconnected it might not run
  stream.getAudioTracks()[0].addEventListener("ended", onLost);
  return {
    rate: context.sampleRate,
    async stop() {
      source.disconnect();
      node.port.postMessage("flush");
      await end;
      stream.getTracks().forEach((track) => track.stop());
      await context.close();
    },
  };
}

async function started(context) {
  try {
    await context.audioWorklet.addModule(address("page/js/pcm-worklet.js"));
  } catch (error) {
    throw new Problem(0, "unreachable", error.message);
  }
  const late = new DOMException("AudioContext: suspended", "NotReadableError");
  await Promise.race([context.resume(), new Promise((_, reject) => setTimeout(reject, STARTS_WITHIN, late))]);
}

function connected(stream) {
  let context = new AudioContext({sampleRate: RATE});
  try {
    return {context, source: context.createMediaStreamSource(stream)};
  } catch { // Firefox does not join a stream and a context of different rates
    context.close();
    context = new AudioContext();
    return {context, source: context.createMediaStreamSource(stream)};
  }
}

/** Loudness of some samples between 0 (-60 dB) and 1. */
export function loudness(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  return Math.max(0, Math.min(1, 1 + (10 * Math.log10(power / 2 ** 30 + 1e-12)) / 60));
}

/** A recording as a WAV file. */
export function wav(chunks, rate) {
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const header = new DataView(new ArrayBuffer(44));
  const tag = (at, text) => [...text].forEach((character, index) => header.setUint8(at + index, character.charCodeAt()));
  tag(0, "RIFF");
  header.setUint32(4, 36 + bytes, true);
  tag(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  tag(36, "data");
  header.setUint32(40, bytes, true);
  return new Blob([header, ...chunks], {type: "audio/wav"});
}
