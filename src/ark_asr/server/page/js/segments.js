/**
 * The transcript on the page: its words can be clicked, walked through with the keyboard, and edited
 * a paragraph at a time.
 *
 * For the keyboard all of it is one stop: the word under the cursor is the only element that can be
 * reached with Tab, and the arrow keys move the cursor.
 */

import {speakerOf, shown, spoken} from "./document.js";
import {$, clock, el, icon} from "./dom.js";
import {t} from "./i18n.js";

const SPEAKER_COLOURS = 6;
let on; // {play, toggle, edit(at, text), speaker(at)}
let cursor = null;

export function setUp(handlers) {
  on = handlers;
  $("segments").addEventListener("click", (event) => {
    const word = event.target.closest(".word");
    if (!word || !getSelection().isCollapsed) return; // who marks text to copy it does not want to jump
    moveTo(word, {focus: false});
    on.play(Number(word.dataset.start));
  });
  $("segments").addEventListener("dblclick", (event) => {
    const text = event.target.closest(".words");
    if (text) edit(number(text));
  });
  $("segments").addEventListener("keydown", onKey);
  $("segments").addEventListener("focusin", (event) => {
    if (event.target.matches(".word")) moveTo(event.target, {focus: false});
  });
}

/** Draws a document; returns its words as `{start, end, element}`. */
export function draw(document, names) {
  const place = cursor?.isConnected ? [number(cursor), [...cursor.parentElement.children].indexOf(cursor)] : null;
  const words = [];
  $("segments").classList.toggle("named", names.length > 0);
  $("segments").replaceChildren(...spoken(document).map((at) => row(document.segments, at, names, words)));
  cursor = null;
  const text = place && textOf(place[0]);
  moveTo(text?.children[Math.min(place[1], text.children.length - 1)] ?? words[0]?.element, {focus: false});
  return words;
}

/** Puts the keyboard back into a paragraph. */
export function focus(at) {
  moveTo(textOf(at)?.contains(cursor) ? cursor : textOf(at)?.firstElementChild, {focus: true});
}

/** Turns a paragraph into a field. */
export function edit(at) {
  const text = textOf(at);
  if (!text || text.hidden) return;
  const field = el("textarea", {class: "editing", rows: 1, "aria-label": t("edit", {time: text.dataset.time}),
    "aria-describedby": "edit-help", spellcheck: true, lang: "", dir: "auto"});
  const help = el("span", {class: "soft", id: "edit-help"}, t("edit_help"));
  field.value = text.textContent;
  const fit = () => {
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight}px`;
  };
  let open = true;
  const leave = (save, keyboard) => {
    if (!open) return;
    open = false;
    const {value} = field;
    field.remove();
    help.remove();
    text.hidden = false;
    if (save) on.edit(at, value);
    if (keyboard) focus(at);
  };
  field.addEventListener("input", fit);
  field.addEventListener("blur", () => leave(true, false));
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") leave(false, true);
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    leave(true, true);
  });
  text.hidden = true;
  text.after(field, help);
  fit();
  field.focus();
}

const number = (inside) => Number(inside.closest(".segment").dataset.at);
const textOf = (at) => $("segments").querySelector(`[data-at="${at}"] .words`);

function row(segments, at, names, words) {
  const segment = segments[at];
  const time = clock(segment.start);
  const speaker = speakerOf(segment);
  const text = el("p", {class: "words", "data-time": time, lang: "", dir: "auto"});
  for (const word of shown(segment)) {
    const element = el("span", {class: word.doubtful ? "word doubtful" : "word", "data-start": word.start}, word.text);
    if (word.spaced && text.childNodes.length) text.append(" ");
    text.append(element);
    words.push({start: word.start, end: word.end, element});
  }
  const same = speaker && at > 0 && speakerOf(segments[at - 1]) === speaker;
  const colour = speaker ? names.indexOf(speaker) % SPEAKER_COLOURS : null;
  return el("li", {class: "segment", "data-at": at},
    el("div", {class: "margin"},
      el("button", {class: "time", tabindex: -1, "aria-label": t("play_from", {time}), onclick: () => on.play(segment.start)}, time),
      el("button", {class: same ? "speaker same" : "speaker", tabindex: -1, "data-colour": colour, "aria-haspopup": "dialog", title: t("name_speaker", {time}),
        "aria-label": speaker ? `${speaker}. ${t("name_speaker", {time})}` : t("name_speaker", {time}),
        onclick: () => on.speaker(at)},
      speaker ?? icon("person"))),
    text,
    el("button", {class: "plain icon pen", tabindex: -1, "aria-label": t("edit", {time}), title: t("edit", {time}),
      onclick: () => edit(at)}, icon("pen")));
}

/** The one word that Tab reaches; it is a button as long as it is that word. */
function moveTo(word, {focus: takes}) {
  if (!word) return;
  if (word !== cursor) { // an element that loses its tabindex, if only for a moment, loses the focus
    cursor?.removeAttribute("tabindex");
    cursor?.removeAttribute("role");
  }
  cursor = word;
  word.tabIndex = 0;
  word.setAttribute("role", "button");
  if (takes) word.focus();
}

function onKey(event) {
  if (!event.target.matches(".word") || event.ctrlKey || event.metaKey || event.altKey) return;
  const forward = getComputedStyle(cursor).direction === "rtl" ? -1 : 1;
  const acts = {
    ArrowRight: () => step(forward),
    ArrowLeft: () => step(-forward),
    ArrowDown: () => stepRow(1),
    ArrowUp: () => stepRow(-1),
    Home: () => moveTo(cursor.parentElement.firstElementChild, {focus: true}),
    End: () => moveTo(cursor.parentElement.lastElementChild, {focus: true}),
    Enter: () => on.play(Number(cursor.dataset.start)),
    " ": () => on.toggle(),
    e: () => edit(number(cursor)),
    F2: () => edit(number(cursor)),
    s: () => on.speaker(number(cursor)),
  };
  const act = acts[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

function step(by) {
  const sibling = by > 0 ? cursor.nextElementSibling : cursor.previousElementSibling;
  if (sibling) moveTo(sibling, {focus: true});
  else stepRow(by, by < 0);
}

function stepRow(by, toItsEnd = false) {
  const here = cursor.closest(".segment");
  const text = (by > 0 ? here.nextElementSibling : here.previousElementSibling)?.querySelector(".words");
  moveTo(toItsEnd ? text?.lastElementChild : text?.firstElementChild, {focus: true});
}
