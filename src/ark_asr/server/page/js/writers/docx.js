/** A transcript for a word processor: WordprocessingML (ECMA-376) in an uncompressed zip file. */

import {doubtful, longClock, outline, summary} from "./outline.js";

const W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
const OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE = "http://schemas.openxmlformats.org/package/2006";
const MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml";
const HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n';

export function docx(document, title) {
  return zip({
    "[Content_Types].xml": `${HEAD}<Types xmlns="${PACKAGE}/content-types">`
      + `<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>`
      + `<Override PartName="/word/document.xml" ContentType="${MAIN}.document.main+xml"/>`
      + `<Override PartName="/word/styles.xml" ContentType="${MAIN}.styles+xml"/></Types>`,
    "_rels/.rels": relations(`${OFFICE}/officeDocument`, "word/document.xml"),
    "word/_rels/document.xml.rels": relations(`${OFFICE}/styles`, "styles.xml"),
    "word/styles.xml": styles(),
    "word/document.xml": body(document, title || "Transcript"),
  });
}

const relations = (type, target) => (
  `${HEAD}<Relationships xmlns="${PACKAGE}/relationships"><Relationship Id="rId1" Type="${type}" Target="${target}"/></Relationships>`);

function styles() {
  const heading = (id, name, size, level) => (
    `<w:style w:type="paragraph" w:styleId="${id}"><w:name w:val="${name}"/>`
    + `<w:pPr><w:keepNext/><w:spacing w:before="240" w:after="120"/><w:outlineLvl w:val="${level}"/></w:pPr>`
    + `<w:rPr><w:b/><w:sz w:val="${size}"/></w:rPr></w:style>`);
  return `${HEAD}<w:styles xmlns:w="${W}"><w:docDefaults><w:pPrDefault><w:pPr><w:spacing w:after="160"/></w:pPr>`
    + `</w:pPrDefault></w:docDefaults><w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style>`
    + `${heading("Heading1", "heading 1", 36, 0)}${heading("Heading2", "heading 2", 26, 1)}</w:styles>`;
}

function body(document, title) {
  const whole = outline(document);
  const blocks = [paragraph(run(title), "Heading1"), paragraph(run(summary(document)) + marks(whole.notes))];
  for (const {heading, start, speaker, words} of whole.paragraphs) {
    if (heading) blocks.push(paragraph(run(longClock(start)), "Heading2"));
    const text = words.map(({piece, notes}) => (
      run(piece.spaced ? " " : "") + run(piece.text, doubtful(piece.confidence) ? '<w:highlight w:val="yellow"/>' : "")
      + marks(notes)));
    blocks.push(paragraph((speaker ? run(`${speaker} `, "<w:b/>") : "") + run(`(${longClock(start)})`, "<w:i/>") + text.join("")));
  }
  const notes = [...whole.notes, ...whole.paragraphs.flatMap((it) => it.words.flatMap((word) => word.notes))];
  if (notes.length) blocks.push(paragraph(run("Notes"), "Heading2"));
  blocks.push(...notes.map((note) => paragraph(marks([note]) + run(` ${note.text}`))));
  return `${HEAD}<w:document xmlns:w="${W}"><w:body>${blocks.join("")}</w:body></w:document>`;
}

const paragraph = (runs, style) => (
  `<w:p>${style ? `<w:pPr><w:pStyle w:val="${style}"/></w:pPr>` : ""}${runs}</w:p>`);

const run = (text, look = "") => (
  text ? `<w:r>${look ? `<w:rPr>${look}</w:rPr>` : ""}<w:t xml:space="preserve">${xml(text)}</w:t></w:r>` : "");

const marks = (notes) => (
  run(notes.map((note) => note.number).join(", "), '<w:vertAlign w:val="superscript"/>'));

/** Quoted, without what XML 1.0 has no way to write. */
const xml = (text) => text
  .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "")
  .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** A zip file with its entries stored as they are (APPNOTE.TXT 4.3), dated 1980 like an empty clock. */
function zip(files) {
  const encoder = new TextEncoder();
  const [local, central] = [[], []];
  let offset = 0;
  for (const [path, text] of Object.entries(files)) {
    const [name, data] = [encoder.encode(path), encoder.encode(text)];
    const common = [20, 0x0800, 0, 0, 0x0021];
    const sizes = [crc32(data), data.length, data.length];
    const header = numbers([[4, 0x04034b50], ...common.map((it) => [2, it]), ...sizes.map((it) => [4, it]), [2, name.length], [2, 0]]);
    central.push(
      numbers([[4, 0x02014b50], [2, 20], ...common.map((it) => [2, it]), ...sizes.map((it) => [4, it]), [2, name.length],
        [2, 0], [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), name);
    local.push(header, name, data);
    offset += header.length + name.length + data.length;
  }
  const size = central.reduce((sum, part) => sum + part.length, 0);
  const count = Object.keys(files).length;
  const end = numbers([[4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, offset], [2, 0]]);
  return new Blob([...local, ...central, end]);
}

/** `[bytes, value]` pairs, little-endian. */
const numbers = (fields) => Uint8Array.from(
  fields.flatMap(([bytes, value]) => Array.from({length: bytes}, (_, at) => (value >>> (8 * at)) & 0xff)));

function crc32(data) {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
