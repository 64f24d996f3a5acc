/** A live session: samples out, events in; `docs/json-schema.md` has their keys. */

import {socket} from "./server.js";

const NORMAL = 1000;

export class Captions {
  /**
   * `onEvent(event)` for each event; `onEnd(reason)` once, the reason null if all was said.
   */
  constructor({rate, model, hotwords, onEvent, onEnd}) {
    const query = new URLSearchParams({rate, ...(model && {model})});
    // Names are sent as a message: addresses are written into logs.
    const first = hotwords.trim() ? [JSON.stringify({type: "hotwords", hotwords})] : [];
    this.early = first; // and what is said before the connection stands
    this.socket = socket(`live?${query}`, "live");
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.early.forEach((data) => this.socket.send(data));
      this.early = null;
    };
    this.socket.onmessage = ({data}) => onEvent(JSON.parse(data));
    this.socket.onclose = ({code, reason}) => onEnd(code === NORMAL ? null : reason || `WebSocket ${code}`);
  }

  send(samples) {
    this.give(samples);
  }

  /** No more sound comes; the last events follow. */
  finish() {
    this.give(JSON.stringify({type: "end"}));
  }

  give(data) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
    else if (this.socket.readyState === WebSocket.CONNECTING) this.early.push(data);
  }
}
