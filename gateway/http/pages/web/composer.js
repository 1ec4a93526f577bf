// The field in which a person writes, its pictures and buttons, what waits above it, and what is said below it.

import { Attachments } from "./attachments.js";
import { byId, el, iconButton } from "./dom.js";
import { fit, isPlain, onKeys } from "./field.js";
import { pictureOf } from "./gallery.js";
import { glanceAtWritten } from "./names.js";
import { Unsent } from "./unsent.js";

const WAITS = "What waits is sent when the answer has ended.";

export class Composer {
  #field = byId("say");
  #send = byId("send");
  #stop = byId("stop");
  #hint = byId("hint");
  #waiting = byId("waiting");
  #unsent = new Unsent();
  #busy = false;
  /** The messages of which the list of those that wait is made. */
  #listed = null;

  /** `act` is what its buttons and keys do: `send`, `stop`, and `editLast`, which tells whether there was anything. */
  constructor(act, album) {
    Object.assign(this, { act, album });
    this.attached = new Attachments(album, () => this.#showButtons());
    this.attached.listen(this.#field, document.body);
    byId("composer").prepend(this.attached.node, this.attached.button, this.attached.chooser);
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      act.send();
    });
    this.#field.addEventListener("keydown", (event) => this.#onKey(event));
    this.#field.addEventListener("input", () => this.write(this.#field.value));
    this.#stop.addEventListener("click", () => {
      act.stop();
      this.focus();
    });
  }

  /** What is written: `{text, pictures}`. */
  get draft() {
    return this.#unsent.draft(this.chat);
  }

  /** True where there is nothing to send, and nothing on its way. */
  get isEmpty() {
    const { text, pictures } = this.draft;
    return !text.trim() && !pictures.length && !this.attached.isReading;
  }

  /** True where there is something to send. A picture that is still being read comes along. */
  get isReady() {
    return !this.isEmpty && !this.attached.isReading;
  }

  /** Show what is written in a chat. */
  open(chat) {
    this.chat = chat;
    this.hint("");
    this.#refresh();
  }

  /** Put `text` in the place of what is written; pictures stay. */
  write(text) {
    this.#unsent.write(this.chat, text);
    this.#showText();
    this.#showButtons();
  }

  /** What is written, which is sent now. */
  take() {
    const written = this.#unsent.take(this.chat);
    this.#refresh();
    return written;
  }

  /** What is written moves to another chat, which is shown instead. */
  moveTo(chat) {
    this.#unsent.move(this.chat, chat);
    this.open(chat);
  }

  /** What is written waits until the answer has ended. */
  wait() {
    this.#unsent.wait(this.chat);
    this.#refresh();
    this.hint(WAITS);
  }

  /** The next message of a chat that waits no more; undefined if none did. */
  next(chat) {
    const message = this.#unsent.takeWaiting(chat, 0);
    if (chat === this.chat) this.#refresh();
    return message;
  }

  /** The messages of a chat that wait are a draft again. */
  giveBack(chat) {
    if (!this.#unsent.waiting(chat).length) return;
    this.#unsent.giveBack(chat);
    if (chat === this.chat) this.#refresh();
  }

  show(busy) {
    this.#busy = busy;
    // With its first message a chat has a draft of its own.
    if (this.attached.pictures !== this.draft.pictures) this.#refresh();
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
    this.attached.set(this.draft.pictures);
    this.#showText();
    this.#showWaiting();
    this.#showButtons();
  }

  #showText() {
    const { text } = this.draft;
    if (this.#field.value !== text) this.#field.value = text;
    fit(this.#field);
  }

  /** While an answer comes, a message can be sent to wait, if there is one. */
  #showButtons() {
    this.#send.hidden = this.#busy && this.isEmpty;
    this.#send.disabled = !this.isReady;
    this.#stop.hidden = !this.#busy;
  }

  #showWaiting() {
    const messages = this.#unsent.waiting(this.chat);
    if (messages === this.#listed) return;
    this.#listed = messages;
    if (!messages.length && this.#hint.textContent === WAITS) this.hint("");
    this.#waiting.hidden = !messages.length;
    this.#waiting.replaceChildren(...messages.map((message, place) => this.#item(message, place)));
  }

  #item(message, place) {
    const { text, pictures } = message;
    const which = `the waiting message ${glanceAtWritten(message)}`.trimEnd();
    const edit = iconButton("edit", `Edit ${which}`, () => this.#takeBack(place));
    const remove = iconButton("trash", `Delete ${which}`, () => {
      this.#unsent.takeWaiting(this.chat, place);
      this.#refresh();
      this.#field.focus();
    });
    const shown = el("span", { class: "pictures" }, ...pictures.map((picture) => pictureOf(this.album, picture)));
    return el("li", {}, ...(pictures.length ? [shown] : []), el("span", { class: "text" }, text), edit, remove);
  }

  #takeBack(place) {
    this.#unsent.giveBack(this.chat, place);
    this.#refresh();
    this.#field.focus();
  }

  #onKey(event) {
    onKeys(event, this.act.send);
    if (event.key !== "ArrowUp" || this.#field.value || !this.isEmpty || !isPlain(event)) return;
    const waiting = this.#unsent.waiting(this.chat).length;
    if (waiting) this.#takeBack(waiting - 1);
    else if (!this.act.editLast()) return;
    event.preventDefault();
  }
}
