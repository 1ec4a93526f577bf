// The messages on screen: one view each, which lives as long as its message is shown.

import { AnswerView } from "./answer.js";
import { childrenOf } from "./chats.js";
import { arrange } from "./dom.js";
import { QuestionView } from "./question.js";

// More than a screen shows.
const AT_ONCE = 20;
const SLICE = 8;

/** The list of messages. `act` is what its buttons do: `edit`, `again`, `goOn`, `reply`, `turnTo` and `named`. */
export class Messages {
  #views = new Map();
  #filling = 0;

  constructor(list, act, album) {
    Object.assign(this, { list, act, album });
  }

  /** Show these messages of a chat; while it is `busy`, nothing can be asked of it. */
  show(chat, messages, busy, nameOf) {
    const views = messages.map((message) => this.#view(message));
    this.#views = new Map(messages.map((message, i) => [message.id, views[i]]));
    const children = childrenOf(chat);
    for (const [i, view] of views.entries()) {
      const [all, before, last] = [children.get(view.message.parent), messages[i - 1], i === views.length - 1];
      view.update({ versions: all, before, last, busy, nameOf, isNobodys: !chat.owner });
    }
    arrange(this.list, views.map(({ node }) => node));
    clearTimeout(this.#filling);
    this.#fill(views.filter((view) => !view.isCurrent), AT_ONCE);
  }

  /** Show what is new in an answer, if it is on screen. */
  refresh(answer) {
    const view = this.#views.get(answer.id);
    if (view?.isFilled) view.refresh();
  }

  /** What a person reads of an answer that is on screen, but for its thoughts. */
  wordsOf(answer) {
    const texts = this.#views.get(answer.id)?.node.querySelectorAll(".body > .md") ?? [];
    return [...texts].map((text) => text.innerText).join("\n");
  }

  /** Edit a message that is on screen; `back` is called when that ends. */
  edit(message, back) {
    this.#filled(message).edit(back);
  }

  /** Bring the keyboard to where an answer that is on screen asks for a name. */
  focusName(answer) {
    this.#filled(answer)?.node.querySelector(".who-form input")?.focus();
  }

  /** Bring the keyboard to the version that now stands where another stood. */
  focusVersions(message, step) {
    this.#filled(message)?.focusVersions(step);
  }

  /** The view of a message with what it shows now; undefined where the message is not on screen. */
  #filled({ id }) {
    const view = this.#views.get(id);
    if (view && !view.isCurrent) view.fill();
    return view;
  }

  /** Give views what they show now, the last first: so many at once, and the others in pieces that keep nobody waiting. */
  #fill(views, atOnce) {
    const began = performance.now();
    for (let done = 0; views.length && (done < atOnce || performance.now() - began < SLICE); done++) views.pop().fill();
    if (views.length) this.#filling = setTimeout(() => this.#fill(views, 1));
  }

  #view(message) {
    const known = this.#views.get(message.id);
    // Another tab may have brought a newer one.
    if (known?.message === message) return known;
    return message.role === "user" ? new QuestionView(message, this.act, this.album) : new AnswerView(message, this.act);
  }
}
