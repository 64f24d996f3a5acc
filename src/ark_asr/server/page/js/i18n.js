/** The page's words in the reader's language. */

import {en} from "./words/en.js";
import {de} from "./words/de.js";
import {zh} from "./words/zh.js";

export const dictionaries = {en, de, zh};
let language = "en";
let words = en;

/** The words for `key`, with `{name}` replaced. */
export function t(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const currentLanguage = () => language;

/** The reader's own variant of the language, for dates: British readers want no American ones. */
const locale = () => navigator.languages.find((tag) => tag.slice(0, 2).toLowerCase() === language) ?? language;

/** The first of the browser's languages that there are words for. */
export function preferredLanguage() {
  const wanted = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  return wanted.find((tag) => tag in dictionaries) ?? "en";
}

/** Translates the document and tells the parts that write words themselves. */
export function setLanguage(name) {
  language = name;
  words = dictionaries[name];
  document.documentElement.lang = name;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(element.dataset.tLabel));
    if (element.matches("button, a")) element.title = t(element.dataset.tLabel);
  }
  for (const element of document.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = t(element.dataset.tPlaceholder);
  }
  document.dispatchEvent(new Event("translated"));
}

export const percent = (share) => new Intl.NumberFormat(locale(), {style: "percent"}).format(share);

export const date = (moment) =>
  new Intl.DateTimeFormat(locale(), {dateStyle: "medium", timeStyle: "short"}).format(moment);
