// An answer on screen: its thoughts, tools and text as they come, and what became of it.

import { approval } from "./approval.js";
import { asksApproval } from "./asked.js";
import { NAMELESS, said, textOf } from "./chats.js";
import { copy, el, icon, iconButton } from "./dom.js";
import { renderMarkdown } from "./markdown.js";
import { nameParts } from "./names.js";
import { segments, shown } from "./parts.js";
import { nameForm } from "./people.js";
import { MessageView } from "./view.js";

const NAME_WANTED = "This key needs to know who is asking: say who you are, and your message is sent.";

export class AnswerView extends MessageView {
  #shown = [];
  #error;

  constructor(message, act) {
    super(message, act, "answer");
  }

  build() {
    const { message, act } = this;
    this.makeActions();
    this.who = el("h2", { class: "who" });
    this.body = el("div", { class: "body" });
    this.waiting = el("p", { class: "waiting", "aria-label": "Waiting for the answer" }, el("i"), el("i"), el("i"));
    this.note = el("div", { class: "note" });
    this.asking = el("div", { class: "asking" });
    this.copyButton = iconButton("copy", "Copy", ({ currentTarget }) => copy(shown(textOf(message)), currentTarget));
    this.againButton = iconButton("again", "Regenerate", () => act.again(message));
    this.onButton = el("button", { type: "button", class: "labelled", on: { click: () => act.goOn(message) } }, icon("on"), "Continue");
    this.retryButton = el("button", { type: "button", on: { click: () => act.again(message) } }, "Try again");
    this.usage = el("span", { class: "usage" });
    this.actions.append(this.copyButton, this.againButton, this.onButton, this.usage);
    this.article.append(this.who, this.body, this.waiting, this.note, this.asking, this.actions);
  }

  show({ versions, before, busy, nameOf, last, isNobodys }) {
    const { message } = this;
    this.showVersions(versions);
    this.who.textContent = nameOf(message.model);
    const buttons = [[this.copyButton, "Copy"], [this.againButton, "Regenerate"], [this.onButton, "Continue"], [this.retryButton, "Try again:"]];
    nameParts(this, nameOf(message.model), before, buttons);
    this.againButton.disabled = busy;
    this.onButton.hidden = busy || !last || !wantsMore(message);
    this.copyButton.hidden = !said(message);
    this.actions.hidden = message.state === "streaming";
    this.node.setAttribute("aria-busy", String(message.state === "streaming"));
    this.#showUsage();
    this.#showNote(busy);
    this.#showRemedy(isNobodys);
    this.#showApproval(last && !busy && asksApproval(message));
    this.refresh();
  }

  refresh() {
    const parts = segments(this.message);
    const streaming = this.message.state === "streaming";
    this.waiting.hidden = !streaming || parts.length > 0;
    for (const [i, part] of parts.entries()) this.#showPart(i, part, streaming && i === parts.length - 1);
    for (const { node } of this.#shown.splice(parts.length)) node.remove();
  }

  #showPart(i, part, active) {
    if (this.#shown[i]?.kind !== part.kind) {
      const view = { kind: part.kind, ...PARTS[part.kind](part) };
      if (this.#shown[i]) this.#shown[i].node.replaceWith(view.node);
      else this.body.append(view.node);
      this.#shown[i] = view;
    }
    this.#shown[i].update(part, active);
  }

  #showUsage() {
    const { usage } = this.message;
    this.usage.textContent = usage ? `${usage.total_tokens.toLocaleString()} tokens` : "";
    if (usage) this.usage.title = `${usage.prompt_tokens} read, ${usage.completion_tokens} written`;
  }

  /** Only the message that follows a question answers it. */
  #showApproval(wanted) {
    if (!wanted) this.asking.replaceChildren();
    else if (!this.asking.firstChild) this.asking.append(approval((words) => this.act.reply(words)));
  }

  #showNote(busy) {
    const { error, state, reason } = this.message;
    if (error) {
      // An alert is spoken whenever it is put there.
      if (this.#error !== error) this.#showError(error);
      this.retryButton.disabled = busy;
      return;
    }
    this.#error = undefined;
    const words = state === "stopped" ? "Stopped." : reason === "length" ? "It reached its limit of length." : "";
    this.note.replaceChildren(...(words ? [el("p", {}, words)] : []));
  }

  #showError(error) {
    this.#error = error;
    const code = error.code ?? (error.status ? `HTTP ${error.status}` : "");
    const told = [error.message, ...(code ? [" ", el("code", {}, code)] : [])];
    const words = el("p", {}, ...(error.code === NAMELESS ? [NAME_WANTED] : told));
    this.nameForm = error.code === NAMELESS ? nameForm("Send it", this.act.named) : null;
    const alert = el("div", { class: "error", role: "alert" }, words, this.retryButton);
    this.note.replaceChildren(alert, ...(this.nameForm ? [this.nameForm] : []));
  }

  /** A name is what helps a message of nobody's; any other is tried again. */
  #showRemedy(isNobodys) {
    if (!this.message.error) return;
    if (this.nameForm) this.nameForm.hidden = !isNobodys;
    this.retryButton.hidden = Boolean(this.nameForm) && isNobodys;
  }
}

const wantsMore = (answer) => Boolean(textOf(answer)) && (answer.state !== "done" || answer.reason === "length");

const PARTS = {
  text: () => {
    const node = el("div", { class: "md" });
    return { node, update: (part) => renderMarkdown(node, shown(part.text)) };
  },
  tool: () => {
    const words = el("span");
    const node = el("p", { class: "tool" }, icon("tool"), words);
    return { node, update: (part, active) => showTool(node, words, part.name, active) };
  },
  thoughts: () => {
    const [title, glance, text] = [el("span"), el("span", { class: "glance" }), el("div", { class: "md" })];
    const node = el("details", { class: "thoughts" }, el("summary", {}, title, glance), text);
    return { node, update: (part, active) => showThoughts({ node, title, glance, text }, part, active) };
  },
};

function showTool(node, words, name, active) {
  node.classList.toggle("active", active);
  words.textContent = active ? `Using ${name}…` : `Used ${name}`;
}

function showThoughts({ node, title, glance, text }, part, active) {
  node.classList.toggle("active", active);
  title.textContent = active ? "Thinking…" : "Thoughts";
  glance.textContent = active ? shown(part.text).trim().split("\n").at(-1) : "";
  renderMarkdown(text, shown(part.text));
}
