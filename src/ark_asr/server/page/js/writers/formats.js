/**
 * Every format, made in the browser from the transcript as it stands there, edits and names included.
 * They are those of the package's own `writers`; the tests compare the two.
 */

import {cues} from "./cues.js";
import {docx} from "./docx.js";
import {doubtful, longClock, outline, summary} from "./outline.js";
import {turns} from "./pieces.js";

/** Of each format: its group, its media type, and how `(document, title)` becomes text or a Blob. */
export const FORMATS = {
  txt: {group: "text", type: "text/plain", render: txt},
  md: {group: "text", type: "text/markdown", render: md},
  docx: {group: "text", type: "application/vnd.openxmlformats-officedocument.wordprocessingml.document", render: docx},
  srt: {group: "subtitles", type: "application/x-subrip", render: srt},
  vtt: {group: "subtitles", type: "text/vtt", render: vtt},
  lrc: {group: "subtitles", type: "text/plain", render: lrc},
  json: {group: "data", type: "application/json", render: json},
  jsonl: {group: "data", type: "application/jsonl", render: jsonl},
  tsv: {group: "data", type: "text/tab-separated-values", render: tsv},
  csv: {group: "data", type: "text/csv", render: csv},
};

export function file(name, document, title) {
  const {type, render} = FORMATS[name];
  return new Blob([render(document, title)], {type: type.startsWith("text/") ? `${type};charset=utf-8` : type});
}

/** Whole milliseconds; halves go to the even one, as they do in Python. */
function milliseconds(seconds) {
  const exact = seconds * 1000;
  const rounded = Math.round(exact);
  return rounded - exact === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

const two = (value) => String(value).padStart(2, "0");

function timestamp(seconds, decimal = ".") {
  const millis = milliseconds(seconds);
  const whole = Math.floor(millis / 1000);
  const clock = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60].map(two).join(":");
  return `${clock}${decimal}${String(millis % 1000).padStart(3, "0")}`;
}

/** When a cue goes: one without a length is shown by no player, and WebVTT does not know such a thing. */
const gone = (cue) => Math.max(cue.end, (milliseconds(cue.start) + 1) / 1000);

/** With `->` for each arrow that parts times: SubRip and comments have no way to quote it. */
const withoutArrows = (text) => text.replace(/-{2,}>/g, "->");

const label = (cue) => (cue.speaker ? `${cue.speaker}: ` : "");

function txt({segments}) {
  return segments.flatMap(turns).map((turn) => `${turn.labelled}\n`).join("");
}

function tsv({segments}) {
  const rows = segments.flatMap(turns)
    .map((turn) => `${milliseconds(turn.start)}\t${milliseconds(turn.end)}\t${turn.labelled}\n`);
  return ["start\tend\ttext\n", ...rows].join("");
}

function csv({segments}) {
  const rows = [["start", "end", "speaker", "text", "confidence", "flags"]];
  for (const segment of segments) {
    const found = turns(segment);
    if (!found.length && segment.flags.length) found.push({...segment, text: ""});
    for (const {start, end, speaker, text} of found) {
      rows.push([start.toFixed(3), end.toFixed(3), speaker, text, decimal(segment.confidence), segment.flags.join(" ")]);
    }
  }
  return rows.map((row) => `${row.map(field).join(",")}\r\n`).join("");
}

const decimal = (value) => (Number.isInteger(value) ? value.toFixed(1) : value);

function field(value) {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function srt({segments}) {
  return cues(segments, {labelled: true}).map((cue, index) => {
    const times = `${timestamp(cue.start, ",")} --> ${timestamp(gone(cue), ",")}`;
    return `${index + 1}\n${times}\n${withoutArrows(label(cue) + cue.lines.join("\n"))}\n`;
  }).join("\n");
}

function vtt({segments, warnings}) {
  const note = (text) => `NOTE ${withoutArrows(text.trim().split(/\s+/).join(" "))}\n`;
  const blocks = segments.flatMap((segment) => {
    const times = `${timestamp(segment.start)} to ${timestamp(segment.end)}`;
    const notes = segment.flags.length ? [[segment.start, note(`${times}: ${segment.flags.join(", ")}`)]] : [];
    return [...notes, ...cues([segment], {labelled: false}).map(voiced)];
  });
  blocks.sort(([one], [other]) => one - other);
  return ["WEBVTT\n", ...warnings.map(note), ...blocks.map(([, text]) => text)].join("\n");
}

function voiced(cue) {
  const quote = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const voice = cue.speaker ? `<v ${quote(cue.speaker)}>` : "";
  const times = `${timestamp(cue.start)} --> ${timestamp(gone(cue))}`;
  return [cue.start, `${times}\n${voice}${quote(cue.lines.join("\n"))}\n`];
}

function lrc({segments, duration}, title) {
  const clock = (seconds) => {
    const hundredths = Math.floor(milliseconds(seconds) / 10);
    return `${two(Math.floor(hundredths / 6000))}:${two(Math.floor(hundredths / 100) % 60)}.${two(hundredths % 100)}`;
  };
  const found = cues(segments, {labelled: true, lines: 1});
  const length = Math.max(duration, ...segments.map((segment) => segment.end));
  const lines = [`[length:${clock(length).slice(0, -3)}]`, "[re:ark-asr]"];
  if (title) lines.unshift(`[ti:${title.trim().split(/\s+/).join(" ")}]`);
  found.forEach((cue, index) => {
    lines.push(`[${clock(cue.start)}]${label(cue)}${cue.lines.join("")}`);
    // A second of silence: an empty line takes the text away.
    if ((found[index + 1]?.start ?? Infinity) - cue.end >= 1) lines.push(`[${clock(cue.end)}]`);
  });
  return lines.map((line) => `${line}\n`).join("");
}

function md(document, title) {
  const plain = (text) => text.trim().split(/\s+/).join(" ").replace(/[\\`*_{}[\]<>#|~&$]/g, "\\$&");
  // A block that is no item of a list, as one is that begins with "1. Lecture.mp3".
  const noList = (text) => text.replace(/^(\d*)([-+.)])(?=\s)/, "$1\\$2");
  const marks = (notes) => notes.map((note) => `[^${note.number}]`).join("");
  const whole = outline(document);
  const blocks = [`# ${plain(title || "Transcript")}`, plain(summary(document)) + marks(whole.notes)];
  for (const {heading, start, speaker, words} of whole.paragraphs) {
    if (heading) blocks.push(`## ${longClock(start)}`);
    const text = words.map(({piece, notes}) => (
      (piece.spaced ? " " : "") + plain(piece.text) + (doubtful(piece.confidence) ? "[?]" : "") + marks(notes)));
    const name = speaker ? `**${plain(speaker)}** ` : "";
    blocks.push(`${name}(${longClock(start)}) ${text.join("").replace(/^ /, "")}`);
  }
  const notes = [...whole.notes, ...whole.paragraphs.flatMap((it) => it.words.flatMap((word) => word.notes))];
  blocks.push(...notes.map((note) => `[^${note.number}]: ${noList(plain(note.text))}`));
  return `${blocks.join("\n\n")}\n`;
}

function json(document) {
  const text = document.segments.map((segment) => segment.text).filter(Boolean).join(" ");
  return `${JSON.stringify({...document, text}, null, 2)}\n`;
}

function jsonl({segments, source}) {
  return segments.map((segment) => `${JSON.stringify({source, ...segment})}\n`).join("");
}
