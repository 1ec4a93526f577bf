// What stands where no message does yet: a greeting, and ideas of what to say.

import { byId, el } from "./dom.js";

const IDEAS = ["My name is Ada.", "What is my name?", "Remember that I like green tea."];

export class Welcome {
  /** `take(idea)` is called with the idea that is chosen. */
  constructor(take) {
    const button = (idea) => el("button", { type: "button", on: { click: () => take(idea) } }, idea);
    byId("ideas").append(...IDEAS.map((idea) => el("li", {}, button(idea))));
  }

  show(isEmpty, name) {
    byId("welcome").hidden = !isEmpty;
    byId("greeting").textContent = name ? `Hello, ${name}` : "Hello";
  }
}
