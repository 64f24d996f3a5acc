/** Recording: captions as they come, and afterwards a transcript with its recording. */

import {Captions} from "./captions.js";
import {fromCaptions} from "./document.js";
import {$, announce, clock, el, toast} from "./dom.js";
import {addressOf, keep, newResult, transcribe} from "./home.js";
import {date, t} from "./i18n.js";
import {allowed, listen, loudness, microphones, wav} from "./microphone.js";
import {applyDisplay, prefer, preferences} from "./preferences.js";
import {show} from "./problems.js";

const BARS = 24;
const QUIET_AFTER = 6; // seconds
const QUIET = 0.12; // about -53 dB
const LARGEST = 4;

/** What is going on while someone records; null otherwise. */
let session = null;
let openView;

export const isRecording = () => session !== null;

export function setUp(onView) {
  openView = onView;
  $("meter").append(...Array.from({length: BARS}, () => el("i")));
  $("record").addEventListener("click", start);
  $("stop").addEventListener("click", stop);
  $("smaller").addEventListener("click", () => resize(-1));
  $("larger").addEventListener("click", () => resize(1));
  $("captions").addEventListener("scroll", () => { $("follow").hidden = atEnd(); });
  $("follow").addEventListener("click", () => { toEnd(); $("captions").focus(); });
  $("microphone").addEventListener("change", () => prefer("microphone", $("microphone").value));
  addEventListener("beforeunload", (event) => { if (session) event.preventDefault(); });
  document.addEventListener("translated", showMicrophones);
}

/** Fills the list of microphones; browsers tell their names once one was used. */
export async function showMicrophones() {
  const found = await microphones();
  const options = found.map(({deviceId, label}) => el("option", {value: deviceId}, label));
  $("microphone").replaceChildren(el("option", {value: ""}, t("microphone_usual")), ...options);
  $("microphone").value = found.some((it) => it.deviceId === preferences.microphone) ? preferences.microphone : "";
}

async function start() {
  if (session) return;
  if (!allowed()) {
    toast(t("error_insecure"), {trouble: true, close: t("close")});
    return;
  }
  const now = {chunks: [], segments: [], count: 0, lastSound: 0, lost: null, captions: null, stopping: false};
  session = now;
  try {
    now.microphone = await listen(preferences.microphone, (samples) => heard(now, samples), () => {
      toast(t("microphone_lost"), {trouble: true, close: t("close")});
      stop();
    });
  } catch (error) {
    session = null;
    show(error);
    return;
  }
  now.ended = new Promise((resolve) => { now.onEnd = resolve; });
  now.captions = new Captions({
    rate: now.microphone.rate,
    model: preferences.model,
    hotwords: preferences.hotwords,
    onEvent: (event) => caption(now, event),
    onEnd: (reason) => { lose(now, reason); now.onEnd(); },
  });
  now.chunks.forEach((samples) => now.captions.send(samples));
  now.awake = await navigator.wakeLock?.request("screen").catch(() => null);
  $("said").replaceChildren();
  $("follow").hidden = true; // whoever had scrolled away was reading the recording before
  write("", "");
  notice(null);
  $("stop").disabled = false;
  $("stop").lastElementChild.textContent = t("stop");
  openView("live");
  $("stop").focus();
  announce(t("recording_on"));
  showMicrophones();
}

async function stop() {
  const now = session;
  if (!now || now.stopping) return;
  now.stopping = true;
  $("stop").disabled = true;
  $("stop").lastElementChild.textContent = t("finishing");
  await now.microphone.stop();
  now.captions.finish();
  if (!now.lost) await now.ended;
  now.awake?.release();
  session = null;
  announce(t("recording_off"));
  await finished(now);
}

async function finished(now) {
  const audio = wav(now.chunks, now.microphone.rate);
  const created = Date.now();
  const title = t("recording_name", {date: date(created)});
  const source = `${title}.wav`;
  const duration = Number((now.count / now.microphone.rate).toFixed(3));
  const model = preferences.model || $("model").value;
  const result = newResult({created, title, source, audio, document: fromCaptions({source, model, duration, segments: now.segments})});
  await keep(result);
  location.hash = addressOf(result);
  if (now.lost) await transcribe(result);
}

function heard(now, samples) {
  now.chunks.push(samples);
  now.count += samples.length;
  now.captions?.send(samples);
  const level = loudness(samples);
  const seconds = now.microphone ? now.count / now.microphone.rate : 0;
  if (level > QUIET) now.lastSound = seconds;
  $("clock").textContent = clock(seconds);
  [...$("meter").children].forEach((bar, at) => bar.classList.toggle("on", at < level * BARS));
  if (now.lost) return;
  const behind = now.behind ? t("behind") : null;
  notice(seconds - now.lastSound > QUIET_AFTER ? t("quiet") : behind);
}

function caption(now, event) {
  now.behind = event.behind;
  if (event.kind === "partial") write(event.settled, event.pending);
  if (event.kind !== "final") return;
  now.segments.push(...event.segments);
  if (event.settled) $("said").append(el("p", {dir: "auto"}, event.settled));
  write("", "");
}

/** The connection has ended before the recording: what is heard is kept all the same. */
function lose(now, reason) {
  if (reason === null) return;
  now.lost = reason;
  write("", "");
  notice(t("captions_lost", {reason}));
}

function write(settled, pending) {
  const [before, after] = $("now").children;
  const space = pending.length - pending.trimStart().length; // not underlined with what follows it
  before.textContent = settled + pending.slice(0, space);
  after.textContent = pending.slice(space);
  const waiting = !settled && !pending && !$("said").children.length;
  $("captions").dataset.waiting = waiting ? t("listening") : "";
  follow();
}

function notice(text) {
  if ($("live-notice").textContent === (text ?? "")) return;
  $("live-notice").textContent = text ?? "";
  $("live-notice").hidden = !text;
  if (text) announce(text);
}

function atEnd() {
  const {scrollTop, scrollHeight, clientHeight} = $("captions");
  return scrollHeight - scrollTop - clientHeight < 80;
}

/** New words stay in sight unless the reader has scrolled away from them. */
function follow() {
  if ($("follow").hidden) toEnd();
}

function toEnd() {
  $("captions").scrollTop = $("captions").scrollHeight;
  $("follow").hidden = true;
}

function resize(by) {
  prefer("size", Math.max(1, Math.min(LARGEST, Number(preferences.size) + by)));
  applyDisplay();
  toEnd();
}
