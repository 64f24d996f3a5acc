/** What the reader has chosen; kept in this browser. */

const NAME = "ark-asr";
const USUAL = {
  language: null, theme: "auto", contrast: null, size: 1, doubts: true, keep: true, model: "",
  microphone: "", hotwords: "", speakers: true, speed: 1,
};

/** Storage can be forbidden; the page then works without a memory. */
export function stored(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

export function store(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch { /* then it is forgotten with the page */ }
}

function load() {
  try { return {...USUAL, ...JSON.parse(stored(NAME))}; } catch { return {...USUAL}; }
}

export const preferences = load();

export function prefer(name, value) {
  preferences[name] = value;
  store(NAME, JSON.stringify(preferences));
}

/** Shows the colours and sizes that were chosen. */
export function applyDisplay() {
  const root = document.documentElement;
  root.dataset.theme = preferences.theme;
  root.dataset.contrast = (preferences.contrast ?? matchMedia("(prefers-contrast: more)").matches) ? "more" : "usual";
  root.dataset.size = preferences.size;
}
