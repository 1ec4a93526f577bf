// The field in which a person writes, its buttons, what waits above it, and what is said below it.

import { byId, el, iconButton } from "./dom.js";
import { fit, isPlain, onKeys } from "./field.js";
import { Unsent } from "./unsent.js";

const WAITS = "It is sent when the answer has ended.";

export class Composer {
  #field = byId("say");
  #send = byId("send");
  #stop = byId("stop");
  #hint = byId("hint");
  #waiting = byId("waiting");
  #unsent = new Unsent();
  #busy = false;

  /** `act` is what its buttons and keys do: `send`, `stop`, and `editLast`, which tells whether there was anything. */
  constructor(act) {
    this.act = act;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      act.send();
    });
    this.#field.addEventListener("keydown", (event) => this.#onKey(event));
    this.#field.addEventListener("input", () => this.write(this.text));
    this.#stop.addEventListener("click", () => {
      act.stop();
      this.focus();
    });
  }

  get text() {
    return this.#field.value;
  }

  /** Show what is written in a chat. */
  open(chat) {
    this.chat = chat;
    this.hint("");
    this.#refresh();
  }

  /** Put `text` in the place of what is written. */
  write(text) {
    this.#unsent.write(this.chat, text);
    this.#refresh();
  }

  /** What is written moves to another chat, which is shown instead. */
  moveTo(chat) {
    const { text } = this;
    this.write("");
    this.open(chat);
    if (text) this.write(text);
  }

  /** What is written waits until the answer has ended. */
  wait() {
    this.#unsent.wait(this.chat);
    this.#refresh();
    this.hint(WAITS);
  }

  /** The next message of a chat that waits no more; undefined if none did. */
  next(chat) {
    const text = this.#unsent.take(chat, 0);
    if (chat === this.chat) this.#refresh();
    return text;
  }

  /** The messages of a chat that wait are a draft again. */
  giveBack(chat) {
    this.#unsent.giveBack(chat);
    if (chat === this.chat) this.#refresh();
  }

  show(busy) {
    this.#busy = busy;
    this.#showButtons();
  }

  hint(words) {
    this.#hint.textContent = words;
  }

  /** Where there is a keyboard that does not cover the page. */
  focus() {
    if (matchMedia("(pointer: fine)").matches) this.#field.focus();
  }

  #refresh() {
    const text = this.#unsent.draft(this.chat);
    if (this.#field.value !== text) this.#field.value = text;
    fit(this.#field);
    this.#showWaiting();
    this.#showButtons();
  }

  /** While an answer comes, a message can be sent to wait, if there is one. */
  #showButtons() {
    const isEmpty = !this.text.trim();
    this.#send.hidden = this.#busy && isEmpty;
    this.#send.disabled = isEmpty;
    this.#stop.hidden = !this.#busy;
  }

  #showWaiting() {
    const texts = this.#unsent.waiting(this.chat);
    if (!texts.length && this.#hint.textContent === WAITS) this.hint("");
    this.#waiting.hidden = !texts.length;
    this.#waiting.replaceChildren(...texts.map((text, place) => this.#item(text, place)));
  }

  #item(text, place) {
    const edit = iconButton("edit", "Edit the waiting message", () => this.#takeBack(place));
    const remove = iconButton("trash", "Delete the waiting message", () => {
      this.#unsent.take(this.chat, place);
      this.#refresh();
      this.#field.focus();
    });
    return el("li", {}, el("span", { class: "text" }, text), edit, remove);
  }

  #takeBack(place) {
    this.#unsent.giveBack(this.chat, place);
    this.#refresh();
    this.#field.focus();
  }

  #onKey(event) {
    onKeys(event, this.act.send);
    if (event.key !== "ArrowUp" || this.text || !isPlain(event)) return;
    const waiting = this.#unsent.waiting(this.chat).length;
    if (waiting) this.#takeBack(waiting - 1);
    else if (!this.act.editLast()) return;
    event.preventDefault();
  }
}
