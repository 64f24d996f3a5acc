/** What every part needs of the document. */

export const $ = (id) => document.getElementById(id);

/** A new element: `el("p", {class: "soft"}, "text", child)`; text is never read as markup. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** Said by screen readers when they have time; not shown. */
export function announce(text) {
  $("announce").textContent = text;
}

/**
 * A message that stays until it is closed or, if it is no trouble, for a while; `onClose()` is called
 * if the reader closes it.
 */
export function toast(text, {details = "", action = null, trouble = false, close, onClose = () => {}}) {
  const note = el("div", {class: trouble ? "toast trouble" : "toast"}, el("p", {}, text));
  if (details && details !== text) note.append(el("p", {class: "details"}, details));
  const remove = () => note.remove();
  if (action) {
    const act = () => { remove(); action.run(); };
    note.append(el("button", {class: "plain", onclick: act}, action.label));
  }
  const dismiss = () => { remove(); onClose(); };
  note.append(el("button", {class: "plain icon", "aria-label": close, onclick: dismiss}, icon("close")));
  $("toasts").append(note);
  if (!trouble) setTimeout(remove, 10_000);
}

/** Opens a dialog; resolves to true if its main button was pressed. */
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok"), {once: true});
  });
}

/** `1:02:03`, or `2:03` below an hour. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  const tail = two(whole % 60);
  return minutes < 60 ? `${minutes}:${tail}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${tail}`;
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
