/** A transcript that is open: read, played, searched, corrected, saved. */

import {EDITED, speakerOf, speakers, titleOf, withSpeaker, withText} from "./document.js";
import {$, announce, ask, clock, el, toast} from "./dom.js";
import {confirmed, keep, onItsWay, showRecent, transcribe} from "./home.js";
import {date, t} from "./i18n.js";
import {beside} from "./menu.js";
import * as player from "./player.js";
import {prefer, preferences} from "./preferences.js";
import * as search from "./search.js";
import * as segments from "./segments.js";
import * as results from "./store.js";
import {file, FORMATS} from "./writers/formats.js";

const GROUPS = ["text", "subtitles", "data"];

let result = null;
let reach = null; // how far the latest name reached, as the next one will
let earlier = []; // documents before each change, for undoing

export function setUp() {
  player.setUp();
  search.setUp();
  segments.setUp({
    play: player.playFrom,
    toggle: player.toggle,
    edit: (at, text) => change(withText(result.document, at, text)),
    speaker: nameSpeaker,
  });
  $("name").addEventListener("change", rename);
  $("name").addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) $("name").blur(); });
  $("undo").addEventListener("click", undo);
  $("again").addEventListener("click", again);
  $("copy").addEventListener("click", copy);
  beside($("download"), $("formats"));
  $("doubts").addEventListener("click", () => {
    prefer("doubts", !preferences.doubts);
    showDoubts();
  });
  document.addEventListener("transcribed", ({detail}) => {
    if (detail.result !== result) return;
    if (detail.before) earlier.push(detail.before); // undoing leads back to it
    draw();
  });
  document.addEventListener("translated", () => {
    drawFormats();
    if (result) draw();
  });
  showDoubts();
}

/** Opens a result of this browser; resolves to whether there is such a one. */
export async function open(id) {
  const found = onItsWay(id) ?? await results.get(id);
  if (!found?.document) return false;
  result = found;
  earlier = [];
  reach = null;
  search.clear();
  drawFormats();
  draw();
  player.load(result.audio, result.document.duration);
  return true;
}

export function close() {
  player.unload();
  result = null;
}

function change(document) {
  if (document === result.document) return;
  earlier.push(result.document);
  result.document = document;
  draw();
  keep(result);
}

function undo() {
  if (!earlier.length) return;
  result.document = earlier.pop();
  draw();
  keep(result);
  announce(t("undone"));
  if (!earlier.length) $("segments").querySelector("[tabindex='0']")?.focus();
}

function draw() {
  const {document} = result;
  $("name").value = result.title;
  const edited = document.segments.some((segment) => segment.flags.includes(EDITED));
  $("meta").textContent = [clock(document.duration), document.model, date(result.created), edited && t("meta_edited")]
    .filter(Boolean).join(" · ");
  $("warnings").replaceChildren(...document.warnings.map((text) => el("li", {class: "notice"}, text)));
  const words = segments.draw(document, speakers(document));
  $("silent").hidden = words.length > 0;
  $("keys-help").hidden = words.length === 0;
  $("undo").disabled = !earlier.length;
  $("again").hidden = !result.audio;
  search.refresh();
  player.follow(words);
}

async function rename() {
  result.title = $("name").value.trim() || titleOf(result.document.source);
  $("name").value = result.title;
  await keep(result);
  await showRecent();
}

function showDoubts() {
  $("doubts").setAttribute("aria-pressed", preferences.doubts);
  $("segments").classList.toggle("quiet", !preferences.doubts);
}

async function nameSpeaker(at) {
  const {document} = result;
  const before = speakerOf(document.segments[at]);
  $("speaker-name").value = before ?? "";
  $("speaker-names").replaceChildren(...speakers(document).map((name) => el("option", {value: name})));
  $("reach-all").textContent = before ? t("reach_all", {name: before}) : t("reach_all_unnamed");
  $("speaker-dialog").querySelector(`[value=${reach ?? (before ? "all" : "on")}]`).checked = true;
  if (await ask($("speaker-dialog"))) {
    reach = $("speaker-dialog").querySelector("[name=reach]:checked").value;
    change(withSpeaker(document, at, $("speaker-name").value.trim(), reach));
  }
  segments.focus(at);
}

async function again() {
  const edited = result.document.segments.some((segment) => segment.flags.includes(EDITED));
  if (edited && !await confirmed(t("again_sure"), t("again_ok"))) return;
  await transcribe(result);
}

async function copy() {
  const done = await copied(FORMATS.txt.render(result.document, result.title));
  toast(t(done ? "copied" : "error_other"), {trouble: !done, close: t("close")});
}

/**
 * Browsers give pages that came over plain http from another machine no clipboard but the old one; Safari
 * gives the new one only at the click itself, so nothing may be waited for before.
 */
async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const field = el("textarea", {class: "unseen"});
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  $("copy").focus();
  return done;
}

function drawFormats() {
  $("format-list").replaceChildren(...GROUPS.map((group) => {
    const names = Object.keys(FORMATS).filter((name) => FORMATS[name].group === group);
    return el("div", {class: "group"}, el("h2", {}, t(`group_${group}`)), ...names.map(formatButton));
  }));
  if (result?.audio) {
    const name = result.document.source;
    const save = () => download(result.audio, name);
    $("format-list").append(el("div", {class: "group"}, el("button", {class: "plain", "data-format": "audio", onclick: save},
      el("b", {}, name.split(".").at(-1)), t("format_audio"))));
  }
}

const formatButton = (name) => el("button", {
  class: "plain",
  "data-format": name,
  onclick: () => download(file(name, result.document, result.title), `${result.title}.${name}`),
}, el("b", {}, name), ` ${t(`format_${name}`)}`);

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", {href: url, download: name.replace(/[\\/:*?"<>|]/g, "-")}).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  $("formats").hidePopover();
}
