/** The start: what can be recorded or sent, what is on its way, and what was there lately. */

import {$, announce, ask, clock, el, icon, toast} from "./dom.js";
import {date, percent, t} from "./i18n.js";
import {Job} from "./jobs.js";
import {prefer, preferences} from "./preferences.js";
import {show} from "./problems.js";
import * as results from "./store.js";

/** Jobs by the ids of their results. */
const underWay = new Map();

export const addressOf = (result) => `#result=${result.id}`;

export const newResult = (fields) => ({id: crypto.randomUUID?.() ?? String(Math.random()).slice(2),
  created: Date.now(), audio: null, job: null, document: null, ...fields});

export function setUp() {
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    takeFiles($("file").files);
    $("file").value = "";
  });
  acceptDrops();
  $("delete-all").addEventListener("click", deleteAll);
  $("keep").checked = preferences.keep;
  $("keep").addEventListener("change", () => prefer("keep", $("keep").checked));
  $("hotwords").value = preferences.hotwords;
  $("hotwords").addEventListener("input", () => prefer("hotwords", $("hotwords").value));
  $("speakers").checked = preferences.speakers;
  $("speakers").addEventListener("change", () => prefer("speakers", $("speakers").checked));
  document.addEventListener("translated", showRecent);
}

/** What the server can do decides whether it is offered. */
export function offerSpeakers(able) {
  $("speakers").parentElement.hidden = !able;
}

const tellsSpeakers = () => !$("speakers").parentElement.hidden;

/** Keeps a result where the reader wants it; says so once if the browser has no room. */
export async function keep(result) {
  const kept = await results.put(result, preferences.keep);
  if (!kept && preferences.keep && !keep.warned) {
    keep.warned = true;
    toast(t("not_kept"), {trouble: true, close: t("close")});
  }
}

/** Goes on with what was under way when the page was closed. */
export async function resume() {
  for (const result of await results.all()) {
    if (result.job && !result.document) transcribe(result, {quiet: true});
  }
}

function takeFiles(files) {
  const all = [...files];
  for (const file of all) {
    const result = newResult({title: file.name.replace(/\.[^.]+$/, ""), source: file.name, audio: file});
    transcribe(result, {opens: all.length === 1});
  }
}

/**
 * Sends a recording and shows how far it is; its document becomes that of the result, and an event
 * `transcribed` says so.
 *
 * Resolves to whether there is one. What is on its way already is not sent once more.
 */
export async function transcribe(result, {opens = false, quiet = false} = {}) {
  if (underWay.has(result.id)) return false;
  const card = cardOf(result, () => job.cancel());
  const job = new Job(result, {speakers: tellsSpeakers() && preferences.speakers, onChange: card.show, onStarted: () => result.document || keep(result)});
  underWay.set(result.id, job);
  $("jobs").append(card.element);
  let lost = false;
  try {
    const found = await job.run();
    const before = result.document;
    Object.assign(result, {job: null, document: found ?? before});
    if (found) {
      await keep(result);
      document.dispatchEvent(new CustomEvent("transcribed", {detail: {result, before}}));
    }
    if (!result.document) await results.remove(result.id);
    announce(t(found ? "finished" : "cancelled", {title: result.title}));
    if (found && opens && !location.hash) location.hash = addressOf(result);
    return Boolean(found);
  } catch (error) {
    const {job: sent} = result;
    result.job = null;
    if (!result.document) {
      const kept = await results.kept(result.id);
      if (kept?.document || (quiet && !kept)) return false; // another tab was first
      lost = Boolean(sent) && error.status === 404;
      if (lost) return false;
      // A server that does not answer may still have it: the page asks again when it is opened again.
      if (!sent || error.status !== 0) await results.remove(result.id);
    }
    show(error, result.title);
    return false;
  } finally {
    await job.clean();
    underWay.delete(result.id);
    card.element.remove();
    await showRecent();
    if (lost) tellOfLoss(result); // not before: what is under way cannot be sent again
  }
}

/**
 * The server has been restarted, or keeps it no longer. Until the reader has closed the message, or sent
 * the recording again, what was kept of it stays: who opens the page again is told again.
 */
function tellOfLoss(result) {
  toast(t("lost", {title: result.title}), {
    trouble: true,
    action: {label: t("send_again"), run: () => transcribe(result)},
    close: t("close"),
    onClose: () => results.remove(result.id),
  });
}

/** A result that is being transcribed: the very one that is changed at the end. */
export const onItsWay = (id) => underWay.get(id)?.result;

function cardOf(result, cancel) {
  const bar = el("progress", {max: 1, "aria-label": result.title});
  const text = el("span", {class: "soft"});
  const stop = el("button", {class: "plain icon", "aria-label": t("cancel_job", {title: result.title}),
    onclick: cancel}, icon("close"));
  const glimpse = el("span", {class: "glimpse"});
  const element = el("li", {class: "card job"}, el("strong", {}, result.title), text, stop, bar, glimpse);
  const show = (state) => {
    if (state.stage === "said") {
      glimpse.textContent = state.text;
      return;
    }
    text.textContent = said(state);
    const share = state.stage === "upload" ? state.share
      : state.stage === "running" && state.seconds_total ? state.seconds_done / state.seconds_total : null;
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
  };
  show({stage: "upload", share: 0});
  return {element, show};
}

function said(state) {
  if (state.stage === "upload") return t("uploading", {share: percent(state.share)});
  if (state.stage === "gone") return t("again_soon");
  if (state.stage !== "running") {
    return state.queue_position > 1 ? t("queued", {before: state.queue_position - 1}) : t("queued_next");
  }
  const done = clock(state.seconds_done);
  const far = state.seconds_total ? t("working", {done, total: clock(state.seconds_total)}) : t("working_open", {done});
  return state.seconds_left == null ? far : `${far} · ${t("left", {time: clock(state.seconds_left)})}`;
}

/** The list of what is in this browser. */
export async function showRecent() {
  const found = (await results.all()).filter((result) => result.document);
  $("recent").replaceChildren(...found.map(rowOf));
  $("nothing").hidden = found.length > 0;
  $("delete-all").hidden = found.length === 0;
}

function rowOf(result) {
  const text = result.document.text;
  const about = `${date(result.created)} · ${clock(result.document.duration)}`;
  return el("li", {class: "card"},
    el("a", {href: addressOf(result)}, el("strong", {}, result.title), el("span", {class: "soft"}, about),
      el("span", {class: "glimpse"}, text.slice(0, 160) || t("no_words"))),
    el("button", {class: "plain icon", "aria-label": t("delete_one", {title: result.title}), title: t("delete"),
      onclick: () => deleteOne(result)}, icon("bin")));
}

async function deleteOne(result) {
  underWay.get(result.id)?.cancel(); // its end would bring it back
  await results.remove(result.id);
  await showRecent();
  $("recent-title").tabIndex = -1;
  $("recent-title").focus();
  const bringBack = async () => { await keep(result); await showRecent(); };
  toast(t("deleted", {title: result.title}), {action: {label: t("undo"), run: bringBack}, close: t("close")});
}

async function deleteAll() {
  if (!await confirmed(t("delete_all_sure"), t("delete_all"))) return;
  for (const job of underWay.values()) if (job.result.document) job.cancel();
  await results.clear();
  await showRecent();
}

/** Asks before something that is hard to take back. */
export function confirmed(question, button) {
  $("confirm-text").textContent = question;
  $("confirm-ok").textContent = button;
  return ask($("confirm-dialog"));
}

function acceptDrops() {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (on) => $("drop").classList.toggle("over", on);
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // otherwise the browser would open the file and leave the page
    mark(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget || mark(false));
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(false);
    if (!$("live").hidden) return;
    location.hash = "";
    takeFiles(event.dataTransfer.files);
  });
}
