/**
 * A transcript as `docs/json-schema.md` describes it, and what a person changes in it. Nothing here
 * writes into a document: every change gives a new one, so that undoing is keeping the old one.
 */

import {doubtful} from "./writers/outline.js";
import {parts, pieces, share} from "./writers/pieces.js";

/** What a person has corrected says so, beside the reason codes of the program. */
export const EDITED = "edited";
// A gap that is too short to be seen as a word of its own, in seconds.
const SHORTEST = 0.05;

/** The document of finished live captions. */
export function fromCaptions({source, model, duration, segments}) {
  const text = segments.map((segment) => segment.text).filter(Boolean).join(" ");
  return {schema: "ark-asr/transcript", version: 1, source, model, duration, text, segments, timings: null, warnings: []};
}

/** The name of a recording without its ending. */
export const titleOf = (source) => source.replace(/\.[^./\\\s]{1,5}$/, "");

/** The segments that have something to read; their numbers are those in the document. */
export const spoken = (document) => [...document.segments.keys()].filter((at) => document.segments[at].text);

/** With another text of one segment; words that stayed keep their times, new ones share the room. */
export function withText(document, at, text) {
  const segment = document.segments[at];
  const tidy = text.trim().split(/\s+/).join(" ");
  if (tidy === segment.text) return document;
  const words = segment.words.length ? realigned(pieces(segment), parts(tidy).map(([part]) => part), segment) : [];
  const flags = segment.flags.includes(EDITED) ? segment.flags : [...segment.flags, EDITED];
  return withSegments(document, (it, number) => (
    number === at ? {...it, text: tidy, words, flags, confidence: tidy ? shareOfRight(words, it) : null} : it));
}

/**
 * With a name for a speaker.
 *
 * `reach` is `one` (this segment), `on` (from here to the next one with another speaker) or `all`
 * (everyone who had the same name, or none).
 */
export function withSpeaker(document, at, name, reach) {
  const before = speakerOf(document.segments[at]);
  const segments = document.segments;
  let last = at;
  while (reach === "on" && last + 1 < segments.length && speakerOf(segments[last + 1]) === before) last += 1;
  return withSegments(document, (segment, number) => {
    const named = reach === "all" ? speakerOf(segment) === before : number >= at && number <= last;
    const words = segment.words.map((word) => ({...word, speaker: name || null}));
    return named ? {...segment, speaker: name || null, words} : segment;
  });
}

/** Who speaks in a segment, or null; a word's own speaker comes before that of its segment. */
export const speakerOf = (segment) => segment.words[0]?.speaker ?? segment.speaker;

/** All names in order of their first words. */
export const speakers = (document) => [...new Set(document.segments.map(speakerOf).filter(Boolean))];

function withSegments(document, change) {
  const segments = document.segments.map(change);
  return {...document, segments, text: segments.map((segment) => segment.text).filter(Boolean).join(" ")};
}

/** The mean of its words' confidence, as the program defines a segment's; the old one without words. */
function shareOfRight(words, segment) {
  if (!words.length) return segment.confidence;
  return round(words.reduce((sum, word) => sum + word.confidence, 0) / words.length, 4);
}

/** Words of a new text: those that are also in the old one keep their time and confidence. */
export function realigned(old, texts, {start, end, speaker}) {
  const kept = commonRun(old.map((word) => word.text), texts);
  const words = [];
  let [from, at] = [0, 0];
  for (const [before, after] of [...kept, [old.length, texts.length]]) {
    words.push(...between(old, from, before, texts.slice(at, after), words, {start, end, speaker}));
    if (before < old.length) words.push(asWord(old[before]));
    [from, at] = [before + 1, after + 1];
  }
  return words;
}

/** New words where `old[from]` to before `old[to]` were; typed by a person, so they are right. */
function between(old, from, to, texts, words, {start, end, speaker}) {
  if (!texts.length) return [];
  let first = from < to ? old[from].start : words.at(-1)?.end ?? start;
  const last = from < to ? old[to - 1].end : old[to]?.start ?? end;
  const before = words.at(-1);
  // Something was put in where no time is: the word before it gives some of its own.
  if (last - first < SHORTEST && before) {
    const [own] = share(before.start, last, [before.text, texts.join(" ")]);
    before.end = first = round(own[1]);
  }
  return share(first, last, texts).map(([begin, stop], at) => (
    {start: round(begin), end: round(stop), text: texts[at], confidence: 1, speaker: old[from]?.speaker ?? speaker ?? null}));
}

const asWord = ({start, end, text, confidence, speaker}) => ({start, end, text, confidence, speaker});

const round = (value, digits = 3) => Number(value.toFixed(digits));

/** Pairs of positions of a longest common subsequence of two lists. */
export function commonRun(one, other) {
  const length = one.map(() => new Uint32Array(other.length + 1));
  length.push(new Uint32Array(other.length + 1));
  for (let i = one.length - 1; i >= 0; i -= 1) {
    for (let j = other.length - 1; j >= 0; j -= 1) {
      length[i][j] = one[i] === other[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
    }
  }
  const pairs = [];
  for (let i = 0, j = 0; i < one.length && j < other.length;) {
    if (one[i] === other[j]) pairs.push([i++, j++]);
    else if (length[i + 1][j] >= length[i][j + 1]) i += 1;
    else j += 1;
  }
  return pairs;
}

/** The words of a segment as they are shown, each with whether it is doubtful. */
export function shown(segment) {
  return pieces(segment).map((piece) => (
    {...piece, doubtful: doubtful(piece.confidence ?? (segment.flags.includes(EDITED) ? null : segment.confidence))}));
}
