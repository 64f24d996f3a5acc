/**
 * The least that a line of text can be broken into, each with its time: a word, or one character of
 * a script that writes no spaces, with its punctuation. The rules are those of the package's own
 * `writers/pieces.py`; the tests hold the two side by side.
 */

const SPACES = /[^\S\u00a0\u202f]+/;
const SPACELESS = /[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}]/u;
const WIDE = /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6b\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
const INVISIBLE = /[\p{Mn}\p{Me}\p{Cf}]/u;
const OPENING = /[\p{Ps}\p{Pi}]/u;
const CLINGING = /[\p{Lm}\p{Mn}\p{Mc}\p{Me}]/u;
const MARK = /\p{M}/u;
const JOINER = "\u200d"; // makes one emoji of several
const FLAG_LETTER = /[\u{1f1e6}-\u{1f1ff}]/u;
const AFTER_EMOJI = /[\u200d\u{1f3fb}-\u{1f3ff}]/u; // or a colour of skin
const LETTER = /[\p{L}\p{N}]/u;
const SENTENCE_END = /[.?!…。？！｡؟۔।]["'”’»›)\]」』）】]*$/u;
const CLAUSE_END = /[,;:—–、，；：､،؛]["'”’»›)\]」』）】]*$/u;

export const endsSentence = (text) => SENTENCE_END.test(text);
export const endsClause = (text) => CLAUSE_END.test(text);

/** Width of a text where all characters stand in a grid. */
export function columns(text) {
  let width = 0;
  for (const character of text) width += INVISIBLE.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
  return width;
}

/**
 * The pieces of a segment's text, in order: its words where these spell the text, else parts of it
 * with estimated times.
 *
 * Each is `{start, end, text, spaced, speaker, confidence, timed}`.
 */
export function pieces(segment) {
  const found = ofWords(segment);
  return found.length ? found : ofText(segment);
}

/** Their text on one line. */
export const join = (parts) => parts.map((it) => (it.spaced ? " " : "") + it.text).join("").replace(/^ /, "");

/** The segment cut where the speaker changes; together the turns fill its time. */
export function turns(segment) {
  const runs = [];
  for (const piece of pieces(segment)) {
    if (runs.at(-1)?.[0].speaker === piece.speaker) runs.at(-1).push(piece);
    else runs.push([piece]);
  }
  return runs.map((run, index) => {
    const start = index ? run[0].start : segment.start;
    const end = runs[index + 1]?.[0].start ?? segment.end;
    const {speaker} = run[0];
    const text = join(run);
    return {start, end, text, speaker, labelled: speaker ? `${speaker}: ${text}` : text};
  });
}

/** Cuts a text into the parts that would be words: `[part, whether a space stands before it]`. */
export function parts(text) {
  return text.split(SPACES).filter(Boolean)
    .flatMap((token) => partsOfToken(token).map((part, index) => [part, index === 0]));
}

/** Shares a time out by width: `[start, end]` of each text. */
export function share(start, end, texts) {
  const sizes = texts.map((text) => Math.max(columns(text), 1));
  const whole = sizes.reduce((sum, size) => sum + size, 0);
  let upto = 0;
  return sizes.map((size, index) => {
    const from = start + (end - start) * (upto / whole);
    upto += size;
    return [from, index === sizes.length - 1 ? end : start + (end - start) * (upto / whole)];
  });
}

/** The piece in parts of at most `room` columns, which share its time. */
export function cut(piece, room) {
  if (columns(piece.text) <= room) return [piece];
  const texts = [""];
  for (const character of seen(piece.text)) {
    for (const unit of columns(character) <= room ? [character] : character) {
      if (columns(texts.at(-1) + unit) > room) texts.push("");
      texts[texts.length - 1] += unit;
    }
  }
  return share(piece.start, piece.end, texts).map(([start, end], index) => (
    {...piece, start, end, text: texts[index], spaced: piece.spaced && index === 0}));
}

function ofWords({text, words, speaker}) {
  const found = [];
  let at = 0;
  for (const word of words) {
    const begin = text.indexOf(word.text, at);
    if (begin < 0 || text.slice(at, begin).trim() || SPACES.test(word.text)) return [];
    found.push({...word, spaced: begin > at || !found.length, speaker: word.speaker ?? speaker, timed: true});
    at = begin + word.text.length;
  }
  return text.slice(at).trim() ? [] : found;
}

function ofText({start, end, text, speaker}) {
  const cutUp = parts(text);
  return share(start, end, cutUp.map(([part]) => part)).map(([from, to], index) => (
    {start: from, end: to, text: cutUp[index][0], spaced: cutUp[index][1], speaker, confidence: null, timed: false}));
}

function partsOfToken(token) {
  const found = [""];
  let before = null;
  for (const character of token) {
    if (before !== null && mayBreak(before, character)) found.push("");
    found[found.length - 1] += character;
    before = character;
  }
  return found;
}

/** Characters as a reader sees them, with what stands on them (UAX #29, simplified). */
function seen(text) {
  const found = [];
  for (const character of text) {
    if (found.length && continues([...found.at(-1)], character)) found[found.length - 1] += character;
    else found.push(character);
  }
  return found;
}

function continues(before, character) {
  if (MARK.test(character) || before.at(-1) === JOINER) return true;
  const flag = before.length === 1 && FLAG_LETTER.test(before[0]) && FLAG_LETTER.test(character);
  return flag || AFTER_EMOJI.test(character);
}

function mayBreak(before, after) {
  if (OPENING.test(before) || CLINGING.test(after)) return false;
  if (SPACELESS.test(after)) return true;
  return SPACELESS.test(before) && (LETTER.test(after) || OPENING.test(after));
}
