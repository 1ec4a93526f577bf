// A row of the list: a chat's title, and the button of its menu. A new title is written in its place.

import { nameOf } from "./chats.js";
import { el, icon } from "./dom.js";
import { onKeys } from "./field.js";

const LONGEST_TITLE = 200;

export class Row {
  #field;

  /** `act` is what can be done with a chat: `open` it, and give it another title by `retitle`. */
  constructor(chat, act) {
    this.act = act;
    this.title = el("span", { class: "title" });
    this.excerpt = el("span", { class: "excerpt" });
    this.mark = el("span", { class: "mark" });
    this.running = el("span", { class: "running", role: "img", "aria-label": "(answering)", hidden: true });
    const words = el("span", { class: "words" }, this.title, this.excerpt);
    const attributes = { type: "button", class: "chat", tabindex: "-1", "aria-keyshortcuts": "F2 Delete" };
    this.button = el("button", { ...attributes, on: { click: () => act.open(this.chat) } }, words, this.mark, this.running);
    this.more = el("button", { type: "button", class: "icon more", tabindex: "-1" }, icon("more"));
    this.node = el("li", { "data-id": chat.id }, this.button, this.more);
  }

  /** Show `chat`, and `place`, the words by which it was found. */
  update(chat, { isOpen, isRunning, place }) {
    this.chat = chat;
    const name = nameOf(chat);
    if (this.title.textContent !== name) {
      this.title.textContent = name;
      this.more.setAttribute("aria-label", `More about “${name}”`);
    }
    if (this.excerpt.textContent !== place) this.excerpt.textContent = place;
    this.mark.textContent = chat.temporary ? "temporary" : "";
    this.running.hidden = !isRunning;
    if (isOpen) this.button.setAttribute("aria-current", "true");
    else this.button.removeAttribute("aria-current");
  }

  /** Write another title: Enter and going elsewhere keep it, Escape does not. */
  rename() {
    if (this.#field) return;
    const about = { maxlength: LONGEST_TITLE, autocomplete: "off", "aria-label": `New title of “${nameOf(this.chat)}”` };
    this.#field = el("input", { class: "rename", ...about });
    this.#field.value = this.chat.title;
    this.#field.addEventListener("keydown", (event) => onKeys(event, () => this.#end(true, true), () => this.#end(false, true)));
    this.#field.addEventListener("blur", () => this.#end(true, false));
    this.button.hidden = this.more.hidden = true;
    this.node.append(this.#field);
    this.#field.focus();
    this.#field.select();
  }

  #end(keeps, goesBack) {
    const field = this.#field;
    if (!field) return;
    this.#field = undefined;
    field.remove();
    this.button.hidden = this.more.hidden = false;
    if (goesBack) this.button.focus();
    const title = field.value.trim();
    if (keeps && title && title !== this.chat.title) this.act.retitle(this.chat, title);
  }
}
