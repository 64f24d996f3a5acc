/** The recording of the transcript that is open, and the word that is being said. */

import {$, calm, clock} from "./dom.js";
import {t} from "./i18n.js";
import {prefer, preferences} from "./preferences.js";

// A reader who has just scrolled is not pulled back to the words for so long.
const PATIENCE = 4000;

const audio = () => $("audio");
let url = null;
let words = []; // {start, end, element} in order of their starts
let lit = null;
let scrolled = 0;

export function setUp() {
  $("play").addEventListener("click", toggle);
  $("seek").addEventListener("input", () => { audio().currentTime = Number($("seek").value); });
  $("speed").value = String(preferences.speed);
  $("speed").addEventListener("change", () => {
    prefer("speed", Number($("speed").value));
    audio().playbackRate = preferences.speed;
  });
  for (const name of ["play", "pause", "ended"]) audio().addEventListener(name, showState);
  for (const name of ["timeupdate", "seeked"]) audio().addEventListener(name, showTime);
  audio().addEventListener("play", () => requestAnimationFrame(onFrame));
  audio().addEventListener("error", () => url && closed(t("cannot_play")));
  for (const name of ["wheel", "touchmove"]) addEventListener(name, () => { scrolled = Date.now(); }, {passive: true});
  document.addEventListener("translated", showState);
}

/** Loads a recording, or none. */
export function load(blob, duration) {
  unload();
  $("player").dataset.note = "";
  $("seek").max = duration;
  $("length").textContent = clock(duration);
  if (!blob) {
    closed(t("no_audio"));
    return;
  }
  url = URL.createObjectURL(blob);
  audio().src = url;
  audio().playbackRate = audio().defaultPlaybackRate = preferences.speed;
  for (const control of controls()) control.disabled = false;
  showTime();
}

export function unload() {
  audio().pause();
  audio().removeAttribute("src");
  audio().load();
  if (url) URL.revokeObjectURL(url);
  url = null;
}

/** The words of the transcript, so that the one that is said can light up. */
export function follow(list) {
  words = list;
  lit = null;
  showTime();
}

export function playFrom(seconds) {
  if (!url) return;
  audio().currentTime = seconds;
  scrolled = 0;
  play();
}

export function toggle() {
  if (!url) return;
  if (audio().paused) play();
  else audio().pause();
}

/** What cannot be played is told by its event `error`; being interrupted is no trouble. */
function play() {
  audio().play().catch(() => {});
}

const controls = () => [$("play"), $("seek"), $("speed")];

function closed(note) {
  for (const control of controls()) control.disabled = true;
  $("player").dataset.note = note;
}

function showState() {
  const {paused} = audio();
  $("play").querySelector("use").setAttribute("href", paused ? "#i-play" : "#i-pause");
  $("play").setAttribute("aria-label", t(paused ? "play" : "pause"));
  $("play").title = t(paused ? "play" : "pause");
}

function onFrame() {
  light();
  if (!audio().paused) requestAnimationFrame(onFrame);
}

function showTime() {
  const now = audio().currentTime;
  $("seek").value = now;
  $("seek").setAttribute("aria-valuetext", clock(now));
  $("at").textContent = clock(now);
  light();
}

function light() {
  const word = url ? wordAt(audio().currentTime) : null;
  if (word === lit) return;
  lit?.element.classList.remove("said");
  word?.element.classList.add("said");
  lit = word;
  if (word && !audio().paused && Date.now() - scrolled > PATIENCE) {
    word.element.scrollIntoView({block: "nearest", behavior: calm() ? "instant" : "smooth"});
  }
}

function wordAt(seconds) {
  let [low, high] = [0, words.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (words[middle].start <= seconds) low = middle + 1;
    else high = middle;
  }
  const word = words[low - 1];
  return word && seconds < word.end ? word : null;
}
