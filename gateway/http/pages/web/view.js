// What every message on screen has: its buttons, and which of its versions is shown.

import { el, iconButton } from "./dom.js";

/** A view begins as an empty node; what it shows is built, and brought up to date, when it is told to `fill` itself, for a chat may be long. */
export class MessageView {
  isFilled = false;
  isCurrent = false;
  #state;

  constructor(message, act, kind) {
    this.message = message;
    this.act = act;
    this.article = el("article");
    this.node = el("li", { class: kind }, this.article);
  }

  /** `versions` are the messages in the place of this one; `before` is the one before it; the rest is of its chat. */
  update(state) {
    this.#state = state;
    this.isCurrent = false;
  }

  fill() {
    if (!this.isFilled) this.build();
    this.isFilled = this.isCurrent = true;
    this.show(this.#state);
  }

  makeActions() {
    const { message, act } = this;
    this.actions = el("div", { class: "actions" });
    this.versions = el("span", { class: "versions", role: "group", "aria-label": "Versions" });
    this.previous = iconButton("left", "Previous version", () => act.turnTo(message, -1));
    this.next = iconButton("right", "Next version", () => act.turnTo(message, 1));
    this.count = el("span");
    this.versions.append(this.previous, this.count, this.next);
    this.actions.append(this.versions);
  }

  showVersions(all) {
    const at = all.indexOf(this.message);
    this.versions.hidden = all.length < 2;
    this.count.textContent = `${at + 1}/${all.length}`;
    this.previous.disabled = at === 0;
    this.next.disabled = at === all.length - 1;
  }

  focusVersions(step) {
    const [wanted, other] = step < 0 ? [this.previous, this.next] : [this.next, this.previous];
    (wanted.disabled ? other : wanted).focus();
  }
}
