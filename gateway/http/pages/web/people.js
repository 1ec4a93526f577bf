// Who is here: the name, and the field in which it can be changed.

import { byId } from "./dom.js";
import { onKeys } from "./field.js";
import * as store from "./store.js";

export class People {
  #field = byId("name");

  /** `renamed()` is called when somebody else is here. */
  constructor(renamed) {
    this.renamed = renamed;
    /** Empty where nobody has said who they are. */
    this.name = this.#field.value = store.readName();
    this.#field.addEventListener("change", () => this.rename(this.#field.value));
    this.#field.addEventListener("keydown", (event) => onKeys(event, () => this.#field.blur()));
  }

  rename(name) {
    this.#field.value = name.trim();
    if (this.#field.value === this.name) return;
    this.name = this.#field.value;
    store.keepName(this.name);
    this.renamed();
  }

  ask() {
    this.#field.focus();
  }

  /** Offer the names of everybody who has chats here. */
  offer(chats) {
    const names = new Set(chats.map(({ owner }) => owner).filter(Boolean));
    byId("names").replaceChildren(...[...names].map((name) => new Option(name)));
  }
}
