// The field in which a person writes, its buttons, and what is said below it.

import { byId } from "./dom.js";
import { fit, onKeys } from "./field.js";
import * as store from "./store.js";

export class Composer {
  #field = byId("say");
  #send = byId("send");
  #stop = byId("stop");
  #hint = byId("hint");

  /** `act` is what its buttons and keys do: `send` and `stop`. */
  constructor(act) {
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      act.send();
    });
    this.#field.addEventListener("keydown", (event) => onKeys(event, act.send));
    this.#field.addEventListener("input", () => this.#typed());
    this.#stop.addEventListener("click", () => {
      act.stop();
      this.focus();
    });
  }

  get text() {
    return this.#field.value;
  }

  /** Show the draft of a chat. */
  open(chat) {
    this.chat = chat;
    this.hint("");
    this.#fill(store.readDraft(placeOf(chat)));
  }

  /** Put `text` in the place of what is written. */
  write(text) {
    this.#fill(text);
    store.keepDraft(placeOf(this.chat), text);
  }

  show(busy) {
    [this.#send.hidden, this.#stop.hidden] = [busy, !busy];
  }

  hint(words) {
    this.#hint.textContent = words;
  }

  /** Take back a hint that is still there. */
  unhint(words) {
    if (this.#hint.textContent === words) this.hint("");
  }

  /** Where there is a keyboard that does not cover the page. */
  focus() {
    if (matchMedia("(pointer: fine)").matches) this.#field.focus();
  }

  #typed() {
    this.write(this.text);
  }

  #fill(text) {
    if (this.#field.value !== text) this.#field.value = text;
    this.#send.disabled = !text.trim();
    fit(this.#field);
  }
}

/** Where a draft is kept: all chats in which nothing is said yet share one. */
const placeOf = (chat) => (chat.messages.length ? chat.id : "new");
