// What every message on screen has: its buttons, and which of its versions is shown.

import { versions } from "./chats.js";
import { el, iconButton } from "./dom.js";

export class MessageView {
  constructor(message, act) {
    this.message = message;
    this.act = act;
    this.article = el("article");
    this.actions = el("div", { class: "actions" });
    this.versions = el("span", { class: "versions", role: "group", "aria-label": "Versions" });
    this.previous = iconButton("left", "Previous version", () => act.turnTo(message, -1));
    this.next = iconButton("right", "Next version", () => act.turnTo(message, 1));
    this.count = el("span");
    this.versions.append(this.previous, this.count, this.next);
  }

  showVersions(chat) {
    const all = versions(chat, this.message);
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
