// What stands where no message does yet: a greeting, the question who is here, and ideas of what to say.

import { byId, el } from "./dom.js";
import { nameForm } from "./people.js";

const IDEAS = ["My name is Ada.", "What is my name?", "Remember that I like green tea."];
const TEMPORARY =
  "This page keeps nothing of it: it is gone when you reload or close it. Your agent is the same as ever: what it writes into its memory stays.";

export class Welcome {
  #form;

  /** `take(idea)` is called with the idea that is chosen, `named(name)` with the name that is given. */
  constructor(take, named) {
    const button = (idea) => el("button", { type: "button", on: { click: () => take(idea) } }, idea);
    byId("ideas").append(...IDEAS.map((idea) => el("li", {}, button(idea))));
    this.#form = nameForm("That’s me", named);
    byId("who").prepend(this.#form);
  }

  show(isEmpty, name, temporary) {
    byId("welcome").hidden = !isEmpty;
    byId("greeting").textContent = temporary ? "A temporary chat" : name ? `Hello, ${name}` : "Hello";
    byId("about").textContent = temporary ? TEMPORARY : "Your agent remembers you, in every chat.";
    byId("who").hidden = Boolean(name);
    if (name) this.#form.reset();
  }
}
