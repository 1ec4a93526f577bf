// The messages on screen: one view each, which lives as long as its message is shown.

import { shown, segments } from "./parts.js";
import { said, textOf, versions } from "./chats.js";
import { copy, el, icon, iconButton } from "./dom.js";
import { renderMarkdown } from "./markdown.js";

/** The list of messages. `act` is what its buttons do: `edit`, `again`, `goOn` and `turnTo`. */
export class Messages {
  #views = new Map();

  constructor(list, act) {
    this.list = list;
    this.act = act;
  }

  /** Show these messages of a chat; while it is `busy`, nothing can be asked of it. */
  show(chat, messages, busy, nameOf) {
    const views = messages.map((message) => this.#view(message));
    this.#views = new Map(messages.map((message, i) => [message.id, views[i]]));
    for (const [i, view] of views.entries()) view.update({ chat, busy, nameOf, last: i === views.length - 1 });
    for (const node of [...this.list.children]) if (!views.some((view) => view.node === node)) node.remove();
    for (const [i, { node }] of views.entries()) if (this.list.children[i] !== node) this.list.insertBefore(node, this.list.children[i]);
  }

  /** Show what is new in an answer, if it is on screen. */
  refresh(answer) {
    this.#views.get(answer.id)?.refresh();
  }

  /** What a person reads of an answer that is on screen, but for its thoughts. */
  wordsOf(answer) {
    const texts = this.#views.get(answer.id)?.node.querySelectorAll(".body > .md") ?? [];
    return [...texts].map((text) => text.innerText).join("\n");
  }

  /** Bring the keyboard to the version that now stands where another stood. */
  focusVersions(message, step) {
    this.#views.get(message.id)?.focusVersions(step);
  }

  #view(message) {
    const known = this.#views.get(message.id);
    // Another tab may have brought a newer one.
    if (known?.message === message) return known;
    return message.role === "user" ? new QuestionView(message, this.act) : new AnswerView(message, this.act);
  }
}

class MessageView {
  constructor(message, act) {
    this.message = message;
    this.act = act;
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

class QuestionView extends MessageView {
  constructor(message, act) {
    super(message, act);
    this.text = el("div", { class: "bubble" }, message.text);
    this.copyButton = iconButton("copy", "Copy", ({ currentTarget }) => copy(message.text, currentTarget));
    this.editButton = iconButton("edit", "Edit", () => this.#edit());
    this.actions.append(this.versions, this.copyButton, this.editButton);
    this.#makeForm();
    this.node = el("li", { class: "question" }, el("span", { class: "unseen" }, "You: "), this.text, this.form, this.actions);
  }

  update({ chat, busy }) {
    this.showVersions(chat);
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

class AnswerView extends MessageView {
  #shown = [];
  #error;

  constructor(message, act) {
    super(message, act);
    this.who = el("p", { class: "who" });
    this.body = el("div", { class: "body" });
    this.waiting = el("p", { class: "waiting", "aria-label": "Waiting for the answer" }, el("i"), el("i"), el("i"));
    this.note = el("div", { class: "note" });
    this.copyButton = iconButton("copy", "Copy", ({ currentTarget }) => copy(shown(textOf(message)), currentTarget));
    this.againButton = iconButton("again", "Regenerate", () => act.again(message));
    this.onButton = el("button", { type: "button", class: "labelled", on: { click: () => act.goOn(message) } }, icon("on"), "Continue");
    this.retryButton = el("button", { type: "button", on: { click: () => act.again(message) } }, "Try again");
    this.usage = el("span", { class: "usage" });
    this.actions.append(this.versions, this.copyButton, this.againButton, this.onButton, this.usage);
    this.node = el("li", { class: "answer" }, this.who, this.body, this.waiting, this.note, this.actions);
  }

  update({ chat, busy, nameOf, last }) {
    const { message } = this;
    this.showVersions(chat);
    this.who.textContent = nameOf(message.model);
    this.againButton.disabled = busy;
    this.onButton.hidden = busy || !last || !wantsMore(message);
    this.copyButton.hidden = !said(message);
    this.actions.hidden = message.state === "streaming";
    this.node.setAttribute("aria-busy", String(message.state === "streaming"));
    this.#showUsage();
    this.#showNote(busy);
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
    const words = el("p", {}, error.message, ...(code ? [" ", el("code", {}, code)] : []));
    this.note.replaceChildren(el("div", { class: "error", role: "alert" }, words, this.retryButton));
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

/** Enter sends, but not while letters are being composed; Escape ends. */
export function onKeys(event, send, end) {
  // https://developer.mozilla.org/docs/Web/API/Element/keydown_event: 229 is a key that the input method takes, in Safari.
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    send();
  }
  if (event.key === "Escape" && end) {
    event.stopPropagation();
    end();
  }
}

/** Make a text field as high as its text. */
export function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}
