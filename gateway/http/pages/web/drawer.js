// The drawer that the list of chats is on narrow screens.

import { byId } from "./dom.js";

// As in style.css.
const NARROW = "(max-width: 52rem)";

export class Drawer {
  constructor() {
    byId("menu").addEventListener("click", () => this.open());
    matchMedia(NARROW).addEventListener("change", () => this.close());
    for (const id of ["close-menu", "shade"]) byId(id).addEventListener("click", () => this.close());
  }

  /** True while nothing in it can be seen. */
  get isShut() {
    return matchMedia(NARROW).matches && !this.#isOpen;
  }

  get #isOpen() {
    return document.body.classList.contains("menu");
  }

  open() {
    this.#set(true);
    byId("close-menu").focus();
  }

  /** Whether it was open. */
  close() {
    const wasOpen = this.#isOpen;
    this.#set(false);
    if (wasOpen) byId("menu").focus();
    return wasOpen;
  }

  #set(wanted) {
    const open = wanted && matchMedia(NARROW).matches;
    document.body.classList.toggle("menu", open);
    document.querySelector("main").inert = open;
    byId("menu").setAttribute("aria-expanded", String(open));
  }
}
