// The key, and the models that it opens. A key is kept in the tab and nowhere else.

import { Api } from "./api.js";
import { byId } from "./dom.js";
import { keepKey, readKey } from "./store.js";

export class Connection {
  models = [];
  #opening = null;
  #isOpen = false;

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

  /** See which models there are; asks for a key if one is needed. Whoever calls it meanwhile waits for the same. */
  open() {
    this.#opening ??= this.#open().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  /** Ask for a key; `problem` says what is wrong with the one before. */
  ask(problem) {
    byId("key-error").textContent = problem;
    byId("key").value = "";
    if (!byId("key-dialog").open) byId("key-dialog").showModal();
    byId("key").focus();
  }

  async #open() {
    const { key } = this.api;
    const { models, error } = await modelsOf(key);
    // A key was entered meanwhile.
    if (this.api.key !== key) return;
    if (models) this.#use(key, models);
    else if (error.status === 401) this.ask(key ? error.message : "");
    else this.#tell(error.message, "Try again");
  }

  async #enter(event) {
    event.preventDefault();
    const key = byId("key").value.trim();
    if (!key) return;
    // https://fetch.spec.whatwg.org/#headers-class: others cannot be in a header.
    if (/[^\x21-\x7e]/.test(key)) return this.ask("A key has no spaces, and no letters beyond a to z.");
    const { models, error } = await modelsOf(key);
    // It was cancelled meanwhile, or another key is being entered.
    if (!byId("key-dialog").open || byId("key").value.trim() !== key) return;
    if (error) return this.ask(error.message);
    keepKey(key);
    this.#use(key, models);
    byId("key-dialog").close();
    // Here, and not when the dialog's event comes: by then the person may be writing elsewhere.
    byId("say").focus();
  }

  #use(key, models) {
    this.api.key = key;
    this.models = models;
    this.#isOpen = true;
    byId("model").replaceChildren(...models.map(({ id, name }) => new Option(name ?? id, id)));
    byId("change-key").hidden = !key;
    this.#tell(models.length ? "" : "This key opens no model.", "Try again");
    this.changed();
  }

  #tellMissing() {
    if (!this.#isOpen) this.#tell("Not connected: this gateway asks for a key.", "Enter a key");
  }

  #tell(words, action) {
    const banner = byId("banner");
    const [text, button] = banner.children;
    banner.hidden = !words;
    text.textContent = words;
    button.textContent = action;
  }
}

/** The models that a key opens, or what is wrong: `{models}` or `{error}`. */
async function modelsOf(key) {
  try {
    return { models: await new Api(key).models() };
  } catch (error) {
    return { error };
  }
}
