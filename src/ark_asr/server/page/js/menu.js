/** A menu beside its button: below it, or above it where there is more room. */

const GAP = 8; // between the two, in pixels
const EDGE = 16; // of the window
const ENOUGH = 400;

/** `menu` is a popover of `button`; its style reads `--right`, `--top`, `--bottom` and `--room`. */
export function beside(button, menu) {
  const place = () => {
    const {top, right, bottom} = button.getBoundingClientRect();
    const {clientWidth: width, clientHeight: height} = document.documentElement;
    const [above, below] = [top - GAP - EDGE, height - bottom - GAP - EDGE];
    const isBelow = below >= Math.min(ENOUGH, above);
    const put = (name, value) => menu.style.setProperty(`--${name}`, value);
    put("right", `${width - right}px`);
    put("top", isBelow ? `${bottom + GAP}px` : "auto");
    put("bottom", isBelow ? "auto" : `${height - top + GAP}px`);
    put("room", `${Math.max(isBelow ? below : above, 0)}px`);
  };
  menu.addEventListener("beforetoggle", ({newState}) => {
    for (const name of ["scroll", "resize"]) {
      if (newState === "open") addEventListener(name, place, {passive: true});
      else removeEventListener(name, place);
    }
    if (newState === "open") place();
  });
}
