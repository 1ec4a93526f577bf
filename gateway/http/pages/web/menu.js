// A menu that a button opens: above everything else, wherever there is room, by keyboard, mouse and touch.

import { el, icon } from "./dom.js";

// What ends it: something else is pressed, or its button goes from where it was.
const LEAVING = ["pointerdown", "resize", "scroll"];

export class Menu {
  #button = null;

  /** `inside` is what it is a part of for those who do not see it; on screen it lies above everything. */
  constructor(inside) {
    this.node = el("div", { class: "choices", role: "menu", popover: "manual", on: { keydown: (event) => this.#onKey(event) } });
    this.node.addEventListener("focusout", ({ relatedTarget }) => relatedTarget && this.#leave(relatedTarget));
    for (const event of LEAVING) addEventListener(event, ({ target }) => this.#leave(target), { capture: true, passive: true });
    inside.append(this.node);
  }

  /** Have `button` open and close it. `fill` gives the choices at that moment: `{words, shape, key, act, bad}`. */
  belongsTo(button, fill) {
    button.setAttribute("aria-haspopup", "menu");
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => (this.#button === button ? this.#close() : this.#open(button, fill())));
  }

  #open(button, choices) {
    this.#close();
    this.#button = button;
    button.setAttribute("aria-expanded", "true");
    this.node.setAttribute("aria-label", button.getAttribute("aria-label"));
    this.node.replaceChildren(...choices.map((choice) => this.#choice(choice)));
    this.#place(button.getBoundingClientRect());
    this.node.showPopover();
    this.node.firstChild.focus();
  }

  #close() {
    const button = this.#button;
    if (!button) return;
    this.#button = null;
    button.setAttribute("aria-expanded", "false");
    if (this.node.contains(document.activeElement)) button.focus({ preventScroll: true });
    this.node.hidePopover();
  }

  // Its height is not known yet: it grows to the side where there is more room, and no further.
  #place({ top, bottom, right }) {
    const { style } = this.node;
    const [width, height] = [document.documentElement.clientWidth, innerHeight];
    const down = height - bottom >= top;
    [style.top, style.bottom] = down ? [`${bottom}px`, "auto"] : ["auto", `${height - top}px`];
    style.right = `${Math.max(width - right, 0)}px`;
    style.maxHeight = `${(down ? height - bottom : top) - 8}px`;
  }

  #choice({ words, shape, key, act, bad }) {
    const press = () => {
      this.#close();
      act();
    };
    const attributes = { type: "button", role: "menuitem", tabindex: "-1", class: bad && "bad", "aria-keyshortcuts": key };
    const shortcut = key ? [el("kbd", { "aria-hidden": "true" }, key)] : [];
    return el("button", { ...attributes, on: { click: press } }, icon(shape), el("span", {}, words), ...shortcut);
  }

  #leave(target) {
    const within = target instanceof Node && (this.node.contains(target) || this.#button?.contains(target));
    if (!within) this.#close();
  }

  #onKey(event) {
    const choices = [...this.node.children];
    const at = choices.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (event.key === "Tab") this.#close();
    if (event.key === "Escape") {
      // It ends the menu, and not an answer or the drawer with it.
      event.stopPropagation();
      this.#close();
    }
    if (to === undefined) return;
    event.preventDefault();
    choices.at(to % choices.length).focus();
  }
}
