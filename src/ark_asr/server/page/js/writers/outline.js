/** A transcript as someone reads it who was not there; the rules of `writers/outline.py`. */

import {endsSentence, pieces} from "./pieces.js";

const HEADING_PAUSE = 3;
const PARAGRAPH = 45;
const PAUSE = 0.4;
export const DOUBT = 0.5;

/** Whether a word is more likely wrong than right; never where that is not known. */
export const doubtful = (confidence) => confidence !== null && confidence < DOUBT;

/** `h:mm:ss`. */
export function longClock(seconds) {
  const whole = Math.floor(Math.round(seconds * 1000) / 1000);
  const two = (value) => String(value).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** Where the text is from and how to read it. */
export function summary({duration, model, segments}) {
  const lines = [`${longClock(duration)} of sound, transcribed${model ? ` by ${model}` : ""}.`];
  const words = segments.flatMap(pieces);
  if (words.some((word) => doubtful(word.confidence))) {
    lines.push(`Marked words may be wrong: their confidence is below ${DOUBT}.`);
  }
  return lines.join(" ");
}

/** `{notes, paragraphs: [{heading, start, speaker, words: [{piece, notes}]}]}`. */
export function outline({segments, warnings}) {
  const notes = warnings.map((text, index) => ({number: index + 1, text}));
  const words = [];
  let numbers = notes.length;
  for (const segment of segments) {
    words.push(...pieces(segment).map((piece) => ({piece, notes: []})));
    if (!segment.flags.length) continue;
    const text = `${longClock(segment.start)} to ${longClock(segment.end)}: ${segment.flags.join(", ")}`;
    (words.at(-1)?.notes ?? notes).push({number: (numbers += 1), text});
  }
  return {notes, paragraphs: [...paragraphs(words)]};
}

function* paragraphs(words) {
  let [heading, begin] = [true, 0];
  const paragraph = (end) => (
    {heading, start: words[begin].piece.start, speaker: words[begin].piece.speaker, words: words.slice(begin, end)});
  for (let at = 1; at < words.length; at += 1) {
    const [before, after] = [words[at - 1].piece, words[at].piece];
    const pause = after.start - before.end;
    const long = after.start - words[begin].piece.start >= PARAGRAPH;
    const rest = endsSentence(before.text) || pause >= PAUSE;
    const section = pause >= HEADING_PAUSE;
    if (section || after.speaker !== before.speaker || (long && rest)) {
      yield paragraph(at);
      [heading, begin] = [section, at];
    }
  }
  if (words.length) yield paragraph(words.length);
}
