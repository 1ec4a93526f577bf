// The messages on screen: one view each, which lives as long as its message is shown.

import { AnswerView } from "./answer.js";
import { QuestionView } from "./question.js";

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
    for (const [i, view] of views.entries()) view.update({ chat, busy, nameOf, last: i === views.length - 1, before: messages[i - 1] });
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
