// The list of chats: in groups by day, searched, and gone through by keyboard. It is one stop of the Tab key.

import { byDay } from "./days.js";
import { arrange, byId, el } from "./dom.js";
import { Drawer } from "./drawer.js";
import { download, toJson, toMarkdown } from "./export.js";
import { Menu } from "./menu.js";
import { Row } from "./rows.js";
import { asksFor, Search } from "./search.js";
import { offerUndo } from "./toast.js";

export class ChatList {
  #rows = new Map();
  #groups = new Map();
  #search = new Search();
  /** By id, where a search found them; null without one. */
  #found = null;
  #shown = { chats: [], open: null, isRunning: () => false };
  /** The row to which the Tab key leads. */
  #stop = null;

  /**
   * `act` is what can be done with a chat: `open`, `forget`, `restore` and `retitle` it. `nameOf` a model is for people, and
   * `addressesOf` pictures hold them whole.
   */
  constructor(act) {
    this.act = act;
    this.list = byId("chats");
    this.field = byId("search");
    this.drawer = new Drawer();
    this.menu = new Menu(byId("sidebar"));
    this.field.addEventListener("input", () => this.#find());
    this.field.addEventListener("keydown", (event) => this.#onFieldKey(event));
    this.list.addEventListener("keydown", (event) => this.#onKey(event));
    this.list.addEventListener("focusin", ({ target }) => this.#setStop(this.#rowOf(target)));
    this.list.addEventListener("contextmenu", (event) => this.#onContextMenu(event));
  }

  show(chats, open, isRunning) {
    const opened = open !== this.#shown.open;
    this.#shown = { chats, open, isRunning };
    if (asksFor(this.field.value)) this.#find();
    // Where all rows are to be made, the messages are on screen before.
    if (this.#rows.size) this.#draw();
    else setTimeout(() => this.#draw());
    if (opened && !this.list.contains(document.activeElement)) this.#setStop(this.#rows.get(open.id));
  }

  openMenu() {
    this.drawer.open();
  }

  /** Whether it was open. */
  closeMenu() {
    return this.drawer.close();
  }

  async #find() {
    const query = this.field.value;
    if (asksFor(query)) {
      const found = await this.#search.find(this.#shown.chats, query);
      if (!found) return;
      this.#found = found;
    } else {
      this.#search.stop();
      this.#found = null;
    }
    this.#draw();
    const count = this.#found?.size;
    byId("found").textContent = count === undefined ? "" : count === 0 ? "No chat has these words." : `${count} found`;
  }

  #draw() {
    const { chats, open, isRunning } = this.#shown;
    const shown = this.#found ? chats.filter(({ id }) => this.#found.has(id)) : chats;
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    const before = this.#rows;
    this.#rows = new Map(shown.map((chat) => [chat.id, before.get(chat.id) ?? this.#row(chat)]));
    for (const chat of shown) {
      const place = this.#found?.get(chat.id) ?? "";
      this.#rows.get(chat.id).update(chat, { isOpen: chat === open, isRunning: isRunning(chat), place });
    }
    arrange(this.list, byDay(shown, Date.now()).map((group) => this.#group(group)));
    // What is put elsewhere loses it.
    if (focused?.isConnected) focused.focus({ preventScroll: true });
    // It may be gone, or made anew.
    const isThere = this.#stop && this.#rows.get(this.#stop.chat.id) === this.#stop;
    if (!isThere) this.#setStop(this.#rows.get(open?.id) ?? this.#rows.values().next().value);
  }

  #group({ name, chats }) {
    if (!this.#groups.has(name)) {
      const [heading, list] = [el("h2", {}, name), el("ul")];
      this.#groups.set(name, { node: el("section", {}, heading, list), list });
    }
    const { node, list } = this.#groups.get(name);
    arrange(list, chats.map(({ id }) => this.#rows.get(id).node));
    return node;
  }

  #row(chat) {
    const row = new Row(chat, this.act);
    this.menu.belongsTo(row.more, () => this.#choices(row));
    return row;
  }

  #choices(row) {
    const save = (ending, type, toText) => async () => download(row.chat, ending, type, await toText(row.chat, this.act));
    return [
      { words: "Rename", shape: "edit", key: "F2", act: () => row.rename() },
      { words: "Export as Markdown", shape: "save", act: save("md", "text/markdown", toMarkdown) },
      { words: "Export as JSON", shape: "save", act: save("json", "application/json", toJson) },
      { words: "Delete", shape: "trash", key: "Delete", bad: true, act: () => this.#forget(row) },
    ];
  }

  #setStop(row) {
    if (!row || row === this.#stop) return;
    if (this.#stop) this.#stop.button.tabIndex = -1;
    row.button.tabIndex = 0;
    this.#stop = row;
  }

  #rowOf(node) {
    return this.#rows.get(node.closest("li")?.dataset.id);
  }

  #onFieldKey(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" && this.#rows.size) {
      event.preventDefault();
      this.#rows.values().next().value.button.focus();
    }
    if (event.key === "Escape" && this.field.value) {
      event.stopPropagation();
      this.field.value = "";
      this.#find();
    }
  }

  #onKey(event) {
    const row = this.#rowOf(event.target);
    if (!row || event.target.tagName !== "BUTTON" || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const act = {
      F2: () => row.rename(),
      Delete: () => this.#forget(row),
      ArrowRight: () => row.more.focus(),
      ArrowLeft: () => row.button.focus(),
      ArrowDown: () => this.#beside(row, 1)?.button.focus(),
      ArrowUp: () => this.#beside(row, -1)?.button.focus(),
      Home: () => [...this.#rows.values()][0].button.focus(),
      End: () => [...this.#rows.values()].at(-1).button.focus(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #onContextMenu(event) {
    const row = this.#rowOf(event.target);
    if (!row || event.target.tagName === "INPUT") return;
    event.preventDefault();
    row.more.click();
  }

  #beside(row, step) {
    const rows = [...this.#rows.values()];
    return rows[rows.indexOf(row) + step];
  }

  #forget(row) {
    const { chat } = row;
    const next = this.#beside(row, 1) ?? this.#beside(row, -1);
    const here = this.list.contains(document.activeElement);
    this.act.forget(chat);
    if (here && !this.drawer.isShut) (next?.button ?? byId("new-chat")).focus();
    offerUndo("The chat is deleted here. The agent keeps what it has learnt.", () => this.act.restore(chat));
  }
}
