// The key, and the models that it opens. A key is kept in the tab and nowhere else.

import { byId } from "./dom.js";
import { keepKey, readKey } from "./store.js";

export class Connection {
  models = [];

  /** `changed` is called when other models can be used. */
  constructor(api, changed) {
    this.api = api;
    this.changed = changed;
    this.filled = document.querySelector("meta[name=gateway-key]").content;
    api.key = readKey() || this.filled;
    byId("change-key").addEventListener("click", () => this.ask(""));
    byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
    byId("key-dialog").addEventListener("close", () => this.#tellMissing());
    byId("key-dialog").querySelector("form").addEventListener("submit", (event) => this.#enter(event));
    byId("banner").querySelector("button").addEventListener("click", () => this.open());
  }

  has(model) {
    return this.models.some(({ id }) => id === model);
  }

  nameOf(id) {
    return this.models.find((model) => model.id === id)?.name ?? id;
  }

  aboutOf(id) {
    return this.models.find((model) => model.id === id)?.info?.meta?.description ?? "";
  }

  /** See which models there are; asks for a key if one is needed. */
  async open() {
    const error = await this.#load();
    if (error?.status === 401) this.ask(this.api.key ? error.message : "");
    else this.#tell(error?.message ?? (this.models.length ? "" : "This key opens no model."), "Try again");
  }

  /** Ask for a key; `problem` says what is wrong with the one before. */
  ask(problem) {
    byId("key-error").textContent = problem;
    byId("key").value = "";
    if (!byId("key-dialog").open) byId("key-dialog").showModal();
    byId("key").focus();
  }

  async #enter(event) {
    event.preventDefault();
    const key = byId("key").value.trim();
    if (!key) return;
    // https://fetch.spec.whatwg.org/#headers-class: others cannot be in a header.
    if (/[^\x21-\x7e]/.test(key)) return this.ask("A key has no spaces, and no letters beyond a to z.");
    this.api.key = key;
    const error = await this.#load();
    if (error) return this.ask(error.message);
    keepKey(key);
    byId("key-dialog").close();
  }

  async #load() {
    try {
      this.models = await this.api.models();
    } catch (error) {
      return error;
    }
    const options = this.models.map(({ id, name }) => new Option(name ?? id, id));
    byId("model").replaceChildren(...options);
    byId("change-key").hidden = !this.api.key;
    this.#tell("");
    this.changed();
  }

  #tellMissing() {
    if (!this.models.length) this.#tell("Not connected: this gateway asks for a key.", "Enter a key");
    byId("say").focus();
  }

  #tell(words, action) {
    const banner = byId("banner");
    const [text, button] = banner.children;
    banner.hidden = !words;
    text.textContent = words;
    button.textContent = action;
  }
}
