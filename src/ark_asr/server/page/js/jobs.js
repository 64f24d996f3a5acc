/** A recording on its way: sent, waited for, fetched; who has kept what came of it deletes it from the server. */

import {preferences} from "./preferences.js";
import {events, Problem, request, upload} from "./server.js";

const ENDED = ["done", "failed", "cancelled"];
const RETRY = [1, 2, 4, 8, 15];

/** So many at a time: browsers open six connections to a server, and the rest of the page needs one too. */
class Places {
  constructor(free) {
    this.free = free;
    this.waiting = [];
  }

  async hold(signal, act) {
    signal.throwIfAborted();
    if (this.free > 0) this.free -= 1;
    else await this.turn(signal);
    try {
      return await act();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.free += 1;
    }
  }

  turn(signal) {
    return new Promise((resolve, reject) => {
      this.waiting.push(resolve);
      signal.addEventListener("abort", () => {
        this.waiting = this.waiting.filter((it) => it !== resolve);
        reject(signal.reason);
      });
    });
  }
}

const sending = new Places(2);
const following = new Places(3);

export class Job {
  /**
   * `result` is a record of the store; `result.job` is set once the server has the recording.
   * `onChange(state)` gets `{stage, ...}`: `upload` with `share`, `queued` and `running` with the
   * server's record, `said` with the text of another segment, `gone` while the server does not
   * answer; `onStarted()` is called when `result.job` is set. `speakers`: tell them apart.
   */
  constructor(result, {speakers, onChange, onStarted}) {
    this.speakers = speakers;
    this.result = result;
    this.id = result.job;
    this.onChange = onChange;
    this.onStarted = onStarted;
    this.leaving = new AbortController();
  }

  /** Resolves to the document, or to null if it was cancelled. */
  async run() {
    const {signal} = this.leaving;
    try {
      if (!this.result.job) await sending.hold(signal, () => this.send());
      const record = await following.hold(signal, () => this.follow());
      if (record.status === "failed") throw new Problem(400, record.error.code, record.error.message);
      if (record.status === "cancelled") return null;
      const response = await request(`jobs/${this.result.job}/result?format=json`, {signal});
      return await response.json();
    } catch (error) {
      if (error.name === "AbortError") return null;
      throw error;
    }
  }

  cancel() {
    this.leaving.abort();
  }

  async send() {
    await readable(this.result.audio);
    const form = new FormData();
    form.append("file", this.result.audio, this.result.source);
    form.append("allow_damage", "true"); // better some of a lecture than none; the transcript says what is missing
    if (this.speakers) form.append("speakers", "true");
    if (preferences.model) form.append("model", preferences.model);
    if (preferences.hotwords.trim()) form.append("hotwords", preferences.hotwords);
    const record = await upload("jobs", form, {
      onSent: (share) => this.onChange({stage: "upload", share}),
      signal: this.leaving.signal,
    });
    this.id = this.result.job = record.id;
    await this.onStarted();
    this.onChange({stage: record.status, ...record});
  }

  /** Until it has ended; a connection that breaks is made anew. */
  async follow() {
    for (let failures = 0; ;) {
      try {
        const response = await request(`jobs/${this.result.job}/events`, {signal: this.leaving.signal});
        for await (const {name, data} of events(response)) {
          failures = 0;
          if (ENDED.includes(name)) break;
          if (name === "error") throw new Problem(500, data.error.code, data.error.message);
          if (name === "progress") this.onChange({stage: data.status, ...data});
          if (name === "segment") this.onChange({stage: "said", text: data.text});
        }
        const record = await (await request(`jobs/${this.result.job}`, {signal: this.leaving.signal})).json();
        if (ENDED.includes(record.status)) return record;
      } catch (error) {
        const lost = error.status === 0 || error instanceof TypeError;
        if (!lost || failures === RETRY.length) throw error;
        this.onChange({stage: "gone"});
      }
      await new Promise((resolve) => setTimeout(resolve, 1000 * RETRY[Math.min(failures, RETRY.length - 1)]));
      failures += 1;
    }
  }

  /**
   * Nothing of it stays on the server, however it ended. Called once the browser's store knows of the
   * end: to another tab a job that is gone, and has no result there, is one that the server has lost.
   */
  async clean() {
    if (!this.id) return;
    const deleted = request(`jobs/${this.id}`, {method: "DELETE", keepalive: true});
    await deleted.then((response) => response.text()).catch(() => {});
  }
}

/** Refuses a folder, or a file that has gone since it was chosen; sent, it would look like a lost connection. */
async function readable(audio) {
  try {
    await audio.slice(0, 1).arrayBuffer();
  } catch (error) {
    throw new Problem(400, "invalid_audio", error.message);
  }
}
