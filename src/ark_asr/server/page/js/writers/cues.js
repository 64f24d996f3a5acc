/**
 * Segments cut into subtitles that can be read: where a cue and where a line ends is a shortest path
 * over the prices of all cuts, as in the package's own `writers/cues.py`.
 */

import {columns, cut, endsClause, endsSentence, pieces} from "./pieces.js";

const RULES = {width: 42, lines: 2, shortest: 1, longest: 7, speed: 20};
const LONG_PAUSE = 1.5;
const PAUSE = 0.4;
const AFTER_CLAUSE = 0.5;
const AMID_CLAUSE = 2;
const SECOND_MISSING = 3;
const ORPHAN = 100;
const LINE = 10_000;

/** Subtitles of all segments in order of time: `{start, end, lines, speaker}`. */
export function cues(segments, {labelled, lines = RULES.lines}) {
  const rules = {...RULES, lines, labelled};
  return segments.flatMap((segment) => cuesOf(segment, rules)).sort((one, other) => one.start - other.start);
}

function cuesOf(segment, rules) {
  const runs = runsOf(pieces(segment));
  return runs.flatMap((run, index) => cuesOfRun(run, runs[index + 1]?.[0].start ?? segment.end, rules));
}

/** Pieces that may share a cue: of one speaker, no long pause between. */
function runsOf(parts) {
  const runs = [];
  parts.forEach((piece, index) => {
    const before = parts[index - 1];
    const together = before && before.speaker === piece.speaker && piece.start - before.end < LONG_PAUSE;
    if (together) runs.at(-1).push(piece);
    else runs.push([piece]);
  });
  return runs;
}

function cuesOfRun(run, limit, rules) {
  const {speaker} = run[0];
  const label = rules.labelled && speaker ? columns(`${speaker}: `) : 0;
  const first = rules.width - Math.min(label, Math.floor(rules.width / 2));
  const rooms = [first, ...Array(rules.lines - 1).fill(rules.width)];
  const items = run.flatMap((piece) => cut(piece, rooms[0]));
  const used = ruler(items);
  const reach = items.map((_, begin) => filled(used, items.length, begin, rooms));
  const starts = [...items.map((item) => item.start), limit];
  const wanted = (begin, end) => (
    Math.min(Math.max(used(begin, end) / rules.speed, rules.shortest), rules.longest));

  const price = (begin, end) => {
    const lasts = items[end - 1].end - items[begin].start;
    const alone = end - begin === 1;
    if (end > reach[begin] || (lasts > rules.longest && !alone)) return Infinity;
    const missing = Math.max(wanted(begin, end) - (starts[end] - starts[begin]), 0);
    const orphan = alone && items.length > 1 ? ORPHAN : 0;
    return 1 + priceOfBreak(items, end) + SECOND_MISSING * missing + orphan;
  };

  return cheapest(items.length, price).map(([begin, end]) => {
    const {start} = items[begin];
    const shownTo = Math.max(items[end - 1].end, start + wanted(begin, end));
    const stop = Math.min(shownTo, starts[end], start + rules.longest);
    return {start, end: stop, speaker, lines: linesOf(items.slice(begin, end), rooms)};
  });
}

/** The text of each line, broken where it reads best. */
function linesOf(items, rooms) {
  const used = ruler(items);
  const last = rooms.at(-1);
  const price = (begin, end) => {
    const room = begin === 0 ? rooms[0] : last;
    if (used(begin, end) > room) return Infinity;
    const balance = ((used(begin, end) + last - room) / last) ** 2;
    const orphan = end - begin === 1 && items.length > 1 ? ORPHAN : 0;
    return LINE + balance + priceOfBreak(items, end) / 4 + orphan;
  };
  return cheapest(items.length, price).map(([begin, end]) => (
    items.slice(begin, end).map((item, at) => (item.spaced && at ? " " : "") + item.text).join("")));
}

/** A function that tells how many columns the items from one to before another take. */
function ruler(items) {
  const upto = [0];
  for (const item of items) upto.push(upto.at(-1) + columns(item.text) + (item.spaced ? 1 : 0));
  return (begin, end) => upto[end] - upto[begin] - (items[begin].spaced ? 1 : 0);
}

function filled(used, count, begin, rooms) {
  let end = begin;
  for (const room of rooms) {
    const from = end;
    while (end < count && used(from, end + 1) <= room) end += 1;
    if (end === count) break;
  }
  return end;
}

function priceOfBreak(items, end) {
  if (end === items.length) return 0;
  const before = items[end - 1];
  if (endsSentence(before.text)) return 0;
  return items[end].start - before.end >= PAUSE || endsClause(before.text) ? AFTER_CLAUSE : AMID_CLAUSE;
}

/** Cuts `count` items into consecutive groups `[begin, end]` that together cost least. */
function cheapest(count, price) {
  const total = [0, ...Array(count).fill(Infinity)];
  const origin = Array(count + 1).fill(0);
  for (let begin = 0; begin < count; begin += 1) {
    for (let end = begin + 1; end <= count; end += 1) {
      const cost = total[begin] + price(begin, end);
      if (cost === Infinity) break;
      if (cost < total[end]) [total[end], origin[end]] = [cost, begin];
    }
  }
  const groups = [];
  for (let end = count; end > 0; end = origin[end]) groups.push([origin[end], end]);
  return groups.reverse();
}
