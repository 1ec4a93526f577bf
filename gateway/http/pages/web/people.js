// Who is here: the name, where it is asked for, and what comes along when somebody without one gets it.

import { byId, el } from "./dom.js";
import { onKeys } from "./field.js";
import * as store from "./store.js";

export class People {
  #field = byId("name");
  #dialog = byId("along-dialog");
  #decided = null;

  /** `renamed(before)` is called when somebody else is here. */
  constructor(renamed) {
    this.renamed = renamed;
    /** Empty where nobody has said who they are. */
    this.name = this.#field.value = store.readName();
    this.#field.addEventListener("change", () => this.rename(this.#field.value));
    this.#field.addEventListener("keydown", (event) => onKeys(event, () => this.#field.blur()));
    for (const choice of ["all", "this", "none"]) byId(`along-${choice}`).addEventListener("click", () => this.#decide(choice));
    this.#dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.#decide("none");
    });
    // Browsers may close it without asking.
    this.#dialog.addEventListener("close", () => this.#decide("none"));
  }

  rename(name) {
    const before = this.name;
    this.name = this.#field.value = name.trim();
    if (this.name === before) return;
    store.keepName(this.name);
    this.renamed(before);
  }

  /** Offer the names of everybody who has chats here. */
  offer(chats) {
    const names = new Set(chats.map(({ owner }) => owner).filter(Boolean));
    byId("names").replaceChildren(...[...names].map((name) => new Option(name)));
  }

  /**
   * Ask which of the `count` chats that were nobody's come along: `decided` is called with "all", "none", or "this",
   * which is the one on screen.
   */
  askAlong(count, isOneOnScreen, decided) {
    const one = count === 1;
    byId("along-title").textContent = one ? "Take your chat along?" : `Take your ${count} chats along?`;
    byId("along-who").textContent = one
      ? `You had it before you said that you are ${this.name}.`
      : `You had them before you said that you are ${this.name}.`;
    byId("along-all").textContent = one ? "Take it along" : `Take all ${count}`;
    byId("along-none").textContent = one ? "Leave it" : "Leave them";
    byId("along-this").hidden = one || !isOneOnScreen;
    this.#decided = decided;
    this.#dialog.showModal();
  }

  #decide(choice) {
    const decided = this.#decided;
    if (!decided) return;
    this.#decided = null;
    this.#dialog.close();
    decided(choice);
  }
}

/** A form that asks who is here; `given(name)` is called with a name. */
export function nameForm(press, given) {
  const field = el("input", { list: "names", maxlength: "512", autocomplete: "off", spellcheck: "false" });
  const submit = (event) => {
    event.preventDefault();
    if (field.value.trim()) given(field.value);
    else field.focus();
  };
  const label = el("label", {}, el("span", {}, "Who are you?"), field);
  return el("form", { class: "who-form", on: { submit } }, label, el("button", { type: "submit", class: "main" }, press));
}
