/** The page: its parts put together, and which of them is shown. */

import {$, ask} from "./dom.js";
import * as home from "./home.js";
import {currentLanguage, preferredLanguage, setLanguage, t} from "./i18n.js";
import * as live from "./live.js";
import {applyDisplay, prefer, preferences} from "./preferences.js";
import {show} from "./problems.js";
import {forgetKey, keyIsKept, onKeyWanted, request} from "./server.js";
import * as transcript from "./transcript.js";

const VIEWS = ["home", "live", "transcript"];
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];
const ASK_AGAIN = 3000;

let models = [];
let state = "loading";

function view(name) {
  for (const id of VIEWS) $(id).hidden = id !== name;
  document.body.dataset.view = name;
  scrollTo(0, 0);
}

async function route() {
  if (live.isRecording()) return;
  const id = location.hash.match(/^#result=(.+)$/)?.[1];
  if (id && await transcript.open(id)) {
    view("transcript");
    $("main").focus({preventScroll: true});
  } else {
    transcript.close();
    view("home");
    await home.showRecent();
  }
}

/** Asks how the server is until its model is there. */
async function watchState() {
  try {
    const response = await fetch(new URL("ready", document.baseURI), {cache: "no-store"});
    const {status, speakers} = await response.json();
    state = status === "failed" ? "failed" : response.ok ? "ready" : "loading";
    home.offerSpeakers(speakers);
  } catch {
    state = "gone";
  }
  showState();
  setTimeout(watchState, state === "ready" ? 10 * ASK_AGAIN : ASK_AGAIN);
}

function showState() {
  $("state").dataset.state = state;
  $("state-text").textContent = t(`state_${state}`);
}

async function loadModels() {
  try {
    const {data} = await (await request("v1/models")).json();
    models = data.filter((it) => it.id === it.model); // the others are aliases of these
  } catch (error) {
    show(error);
  }
  if (!models.some((model) => model.id === preferences.model)) prefer("model", "");
  $("model").replaceChildren(...models.map(({id}) => new Option(id, id)));
  if (preferences.model) $("model").value = preferences.model;
  showModel();
}

/** The first model is what the server takes by itself. */
function showModel() {
  const chosen = models.find((model) => model.id === $("model").value);
  const names = new Intl.DisplayNames(currentLanguage(), {type: "language"});
  const languages = (chosen?.languages ?? []).map((tag) => names.of(tag)).join(", ");
  const several = chosen?.languages.length > 1;
  $("model-note").textContent = languages && t(several ? "model_languages" : "model_language", {languages});
}

async function askForKey(wasWrong) {
  $("key").value = "";
  $("key-note").textContent = t(wasWrong ? "key_wrong" : "key_note");
  $("key-note").classList.toggle("wrong", wasWrong);
  const given = await ask($("key-dialog"));
  return given ? {key: $("key").value.trim(), keep: $("key-keep").checked} : null;
}

function setUpDisplay() {
  const dialog = $("display-dialog");
  $("open-display").addEventListener("click", () => {
    for (const name of ["theme", "size"]) dialog.querySelector(`[name=${name}][value="${preferences[name]}"]`).checked = true;
    $("contrast").checked = document.documentElement.dataset.contrast === "more";
    $("forget-key").hidden = !keyIsKept();
    ask(dialog);
  });
  dialog.addEventListener("change", ({target}) => {
    prefer(target.id || target.name, target.type === "checkbox" ? target.checked : target.value);
    applyDisplay();
  });
  $("forget-key").addEventListener("click", () => {
    forgetKey();
    $("forget-key").hidden = true;
  });
}

function setUp() {
  applyDisplay();
  setUpDisplay();
  onKeyWanted(askForKey);
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  $("model").addEventListener("change", () => {
    prefer("model", $("model").selectedIndex ? $("model").value : "");
    showModel();
  });
  $("language").addEventListener("change", () => {
    prefer("language", $("language").value);
    setLanguage($("language").value);
  });
  document.addEventListener("translated", () => {
    const {hostname, host} = location;
    $("promise").textContent = LOCAL.includes(hostname) ? t("promise_here") : t("promise_server", {host});
    showState();
    showModel();
  });
  home.setUp();
  live.setUp(view);
  transcript.setUp();
  setLanguage(preferences.language ?? preferredLanguage());
  $("language").value = currentLanguage();
  addEventListener("hashchange", route);
}

setUp();
await route();
watchState();
await loadModels();
await live.showMicrophones();
await home.resume();
document.documentElement.dataset.loaded = "";
