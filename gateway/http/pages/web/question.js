// A message of the person's on screen: its words and pictures, which can be edited.

import { Attachments } from "./attachments.js";
import { copy, el, iconButton } from "./dom.js";
import { fit, onKeys } from "./field.js";
import { pictureOf } from "./gallery.js";
import { glanceAtWritten, nameParts } from "./names.js";
import { MessageView } from "./view.js";
import { appendWritten, isLong } from "./written.js";

export class QuestionView extends MessageView {
  constructor(message, act, album) {
    super(message, act, "question");
    this.album = album;
  }

  build() {
    const { message, album } = this;
    this.makeActions();
    this.pictures = el("ul", { class: "pictures", "aria-label": "Pictures", hidden: !message.pictures });
    this.pictures.append(...(message.pictures ?? []).map((picture) => el("li", {}, pictureOf(album, picture))));
    this.text = el("div", { class: "bubble", hidden: !message.text });
    appendWritten(this.text, message.text);
    this.text.addEventListener("focusin", ({ target }) => this.isFolded && this.#unfoldFor(target));
    this.foldButton = el("button", { type: "button", class: "fold", on: { click: () => this.#fold(!this.isFolded) } });
    this.foldButton.hidden = !isLong(message.text);
    this.#fold(isLong(message.text));
    this.copyButton = iconButton("copy", "Copy", ({ currentTarget }) => copy(message.text, currentTarget));
    this.editButton = iconButton("edit", "Edit", () => this.edit(() => this.editButton.focus()));
    this.actions.append(this.copyButton, this.editButton);
    this.shown = el("div", { class: "shown" }, this.pictures, this.text, this.foldButton, this.actions);
    this.article.append(el("h2", { class: "unseen" }, "You"), this.shown);
  }

  show({ versions, busy }) {
    this.showVersions(versions);
    this.isBusy = busy;
    nameParts(this, "You", this.message, [[this.copyButton, "Copy"], [this.editButton, "Edit"]]);
    this.editButton.disabled = busy;
    this.#checkSave();
  }

  refresh() {}

  #fold(isFolded) {
    this.isFolded = isFolded;
    this.text.classList.toggle("folded", isFolded);
    this.foldButton.textContent = isFolded ? "Show all" : "Show less";
    this.foldButton.setAttribute("aria-expanded", String(!isFolded));
    this.foldButton.setAttribute("aria-label", `${this.foldButton.textContent} of your message ${glanceAtWritten(this.message)}`);
  }

  /** Who comes there by keyboard must see where. */
  #unfoldFor(target) {
    this.#fold(false);
    target.scrollIntoView({ block: "nearest" });
  }

  #makeForm() {
    this.field = el("textarea", { rows: "1", "aria-label": "Edit your message", on: { input: () => fit(this.field) } });
    this.field.addEventListener("keydown", (event) => onKeys(event, () => this.save.click(), () => this.#endEdit()));
    const whose = `your message ${glanceAtWritten(this.message)}`;
    const button = (does, press, look) => el("button", { type: "button", "aria-label": `${does} ${whose}`, class: look, on: { click: press } });
    const cancel = button("Cancel editing", () => this.#endEdit());
    this.save = button("Send", () => this.#save(), "main");
    cancel.append("Cancel");
    this.save.append("Send");
    this.attached = new Attachments(this.album, () => this.#checkSave(), `Add pictures to ${whose}`);
    const buttons = el("p", { class: "buttons" }, this.attached.button, this.attached.chooser, cancel, this.save);
    this.form = el("div", { class: "edit", hidden: true }, this.attached.node, this.field, buttons);
    this.attached.listen(this.field, this.form);
    this.article.append(this.form);
  }

  /** `back` brings the keyboard back when it ends. */
  edit(back) {
    this.back = back;
    if (!this.form) this.#makeForm();
    // It may be under way already.
    if (this.form.hidden) this.#begin();
    fit(this.field);
    this.field.focus();
  }

  #begin() {
    this.#setEditing(true);
    this.field.value = this.message.text;
    this.attached.set([...(this.message.pictures ?? [])]);
    this.#checkSave();
  }

  #endEdit() {
    this.#setEditing(false);
    this.back();
  }

  #setEditing(editing) {
    this.form.hidden = !editing;
    this.shown.hidden = editing;
    this.node.classList.toggle("editing", editing);
  }

  #checkSave() {
    if (!this.form) return;
    this.save.disabled = this.isBusy || this.attached.isReading;
  }

  #save() {
    const { pictures } = this.attached;
    if (!this.field.value.trim() && !pictures.length) return;
    this.#endEdit();
    this.act.edit(this.message, { text: this.field.value, pictures });
  }
}
