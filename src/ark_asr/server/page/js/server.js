/** This server, and no other: requests with the key, and errors as something that can be shown. */

import {store, stored} from "./preferences.js";

const KEY = "ark-asr-key";
let key = stored(KEY);
let asking = null;
let askForKey = async () => null;

/** A request that failed; `status` 0 if the server could not be reached. */
export class Problem extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** `ask(wasWrong)` resolves to `{key, keep}`, or to null if there is none. */
export function onKeyWanted(ask) {
  askForKey = ask;
}

export const keyIsKept = () => stored(KEY) !== null;

export function forgetKey() {
  key = null;
  store(KEY, null);
}

export const address = (path) => new URL(path, document.baseURI);

/** Fetches from this server; asks for a key as often as one is wanted. */
export async function request(path, options = {}) {
  for (;;) {
    const used = key;
    let response;
    try {
      response = await fetch(address(path), {...options, headers: authorization(), cache: "no-store"});
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "unreachable", error.message);
    }
    if (response.ok) return response;
    const problem = problemOf(response.status, await response.text());
    if (response.status !== 401) throw problem;
    await renewKey(used, problem);
  }
}

/** Sends a form with `POST` and says how much of it has gone: `onSent(share)`. */
export async function upload(path, form, {onSent, signal}) {
  for (;;) {
    const used = key;
    const {status, text} = await sent(path, form, onSent, signal);
    if (status >= 200 && status < 300) return JSON.parse(text);
    const problem = problemOf(status, text);
    if (status !== 401) throw problem;
    await renewKey(used, problem);
  }
}

/** A WebSocket of this server. Browsers send no headers with it, so a key goes as a protocol. */
export function socket(path, protocol) {
  const url = address(path);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(url, key === null ? [] : [protocol, `openai-insecure-api-key.${key}`]);
}

/** Server-sent events of a response, as this server writes them: `{name, data}`, the data parsed. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      yield* blocks.map(eventOf).filter(Boolean);
    }
  } finally {
    reader.cancel().catch(() => {}); // whoever stops listening closes the connection
  }
}

function eventOf(block) {
  const fields = new Map(block.split("\n").map((line) => line.match(/^(\w+): (.*)$/)?.slice(1)).filter(Boolean));
  return fields.has("data") ? {name: fields.get("event"), data: JSON.parse(fields.get("data"))} : null;
}

const authorization = () => (key === null ? {} : {Authorization: `Bearer ${key}`});

function sent(path, form, onSent, signal) {
  return new Promise((resolve, reject) => {
    const going = new XMLHttpRequest(); // fetch does not tell how much has gone
    going.open("POST", address(path));
    for (const [name, value] of Object.entries(authorization())) going.setRequestHeader(name, value);
    going.upload.onprogress = ({loaded, total}) => onSent(loaded / total);
    going.onload = () => resolve({status: going.status, text: going.responseText});
    going.onerror = () => reject(new Problem(0, "unreachable", ""));
    going.onabort = () => reject(new DOMException("", "AbortError"));
    signal.addEventListener("abort", () => going.abort());
    going.send(form);
  });
}

function problemOf(status, text) {
  try {
    const {error} = JSON.parse(text);
    return new Problem(status, error.code, error.message);
  } catch {
    return new Problem(status, null, `HTTP ${status}`);
  }
}

/** Another key than the one that was used; several requests that wait for it ask once. */
async function renewKey(used, problem) {
  if (key !== used) return;
  asking ??= askForKey(used !== null).finally(() => { asking = null; });
  const given = await asking;
  if (given === null) throw problem;
  key = given.key;
  store(KEY, given.keep ? given.key : null);
}
