/** Finding words in the transcript; matches are marked without changing the text's elements. */

import {$, calm} from "./dom.js";
import {t} from "./i18n.js";

let found = [];
let at = 0;

export function setUp() {
  $("find").addEventListener("input", () => { at = 0; refresh(); reveal(); });
  $("find").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    step(event.shiftKey ? -1 : 1);
  });
  $("find-next").addEventListener("click", () => step(1));
  $("find-previous").addEventListener("click", () => step(-1));
  document.addEventListener("translated", say);
}

export function clear() {
  $("find").value = "";
  refresh();
}

/** Looks again, because the text or the search has changed. */
export function refresh() {
  const wanted = $("find").value.trim();
  const pattern = wanted && new RegExp(wanted.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&").replace(/\s+/g, "\\s+"), "giu");
  const texts = wanted ? [...$("segments").querySelectorAll(".words")] : [];
  found = texts.flatMap((text) => [...text.textContent.matchAll(pattern)].map((match) => (
    rangeOf(text, match.index, match.index + match[0].length))));
  at = Math.min(at, Math.max(found.length - 1, 0));
  mark();
}

function step(by) {
  if (!found.length) return;
  at = (at + by + found.length) % found.length;
  mark();
  reveal();
}

function mark() {
  for (const button of [$("find-next"), $("find-previous")]) button.disabled = !found.length;
  say();
  if (!CSS.highlights) return;
  CSS.highlights.set("found", new Highlight(...found));
  CSS.highlights.set("found-now", new Highlight(...found.slice(at, at + 1)));
}

function say() {
  const values = {at: at + 1, count: found.length};
  const text = found.length ? t("found", values) : t("found_none");
  $("found").textContent = $("find").value.trim() ? text : "";
}

function reveal() {
  if (!found.length) return;
  if (!CSS.highlights) getSelection().setBaseAndExtent(...ends(found[at])); // older browsers mark this one only
  found[at].startContainer.parentElement.scrollIntoView({block: "center", behavior: calm() ? "instant" : "smooth"});
}

const ends = (range) => [range.startContainer, range.startOffset, range.endContainer, range.endOffset];

/** The range of some characters of an element's text. */
function rangeOf(element, start, end) {
  const range = new Range();
  const nodes = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let upto = 0; nodes.nextNode();) {
    const {length} = nodes.currentNode;
    if (start >= upto && start < upto + length) range.setStart(nodes.currentNode, start - upto);
    if (end > upto && end <= upto + length) {
      range.setEnd(nodes.currentNode, end - upto);
      break;
    }
    upto += length;
  }
  return range;
}
