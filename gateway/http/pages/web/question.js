// A message of the person's on screen, which can be edited.

import { copy, el, iconButton } from "./dom.js";
import { fit, onKeys } from "./field.js";
import { nameParts } from "./names.js";
import { MessageView } from "./view.js";

export class QuestionView extends MessageView {
  constructor(message, act) {
    super(message, act);
    this.text = el("div", { class: "bubble" }, message.text);
    this.copyButton = iconButton("copy", "Copy", ({ currentTarget }) => copy(message.text, currentTarget));
    this.editButton = iconButton("edit", "Edit", () => this.#edit());
    this.actions.append(this.versions, this.copyButton, this.editButton);
    this.#makeForm();
    this.article.append(el("h2", { class: "unseen" }, "You"), this.text, this.form, this.actions);
    this.node = el("li", { class: "question" }, this.article);
  }

  update({ chat, busy }) {
    this.showVersions(chat);
    nameParts(this, "You", this.message, [[this.copyButton, "Copy"], [this.editButton, "Edit"]]);
    this.editButton.disabled = busy;
    this.save.disabled = busy;
  }

  refresh() {}

  #makeForm() {
    this.field = el("textarea", { rows: "1", "aria-label": "Edit your message", on: { input: () => fit(this.field) } });
    this.field.addEventListener("keydown", (event) => onKeys(event, () => this.save.click(), () => this.#endEdit()));
    const cancel = el("button", { type: "button", on: { click: () => this.#endEdit() } }, "Cancel");
    this.save = el("button", { type: "button", class: "main", on: { click: () => this.#save() } }, "Send");
    this.form = el("div", { class: "edit", hidden: true }, this.field, el("p", { class: "buttons" }, cancel, this.save));
  }

  #edit() {
    this.#setEditing(true);
    this.field.value = this.message.text;
    fit(this.field);
    this.field.focus();
  }

  #endEdit() {
    this.#setEditing(false);
    this.editButton.focus();
  }

  #setEditing(editing) {
    this.form.hidden = !editing;
    this.text.hidden = this.actions.hidden = editing;
    this.node.classList.toggle("editing", editing);
  }

  #save() {
    if (!this.field.value.trim()) return;
    this.#endEdit();
    this.act.edit(this.message, this.field.value);
  }
}
