// The list of chats, which is a drawer on narrow screens, and what is said when one is deleted.

import { byId, el, iconButton } from "./dom.js";

const UNDO_FOR = 8000;
// As in style.css.
const NARROW = "(max-width: 52rem)";

export class ChatList {
  #undo = 0;

  /** `act` is what its buttons do: `open`, `forget` and `restore` a chat. */
  constructor(act) {
    this.act = act;
    byId("menu").addEventListener("click", () => this.openMenu());
    matchMedia(NARROW).addEventListener("change", () => this.closeMenu());
    for (const id of ["close-menu", "shade"]) byId(id).addEventListener("click", () => this.closeMenu());
  }

  show(chats, open, isRunning) {
    const focused = document.activeElement?.closest("#chats li")?.dataset.id;
    byId("chats").replaceChildren(...chats.map((chat) => this.#item(chat, chat === open, isRunning(chat))));
    byId("chats").querySelector(`[data-id="${focused}"] button`)?.focus();
  }

  openMenu() {
    this.#setMenu(true);
    byId("close-menu").focus();
  }

  /** Whether it was open. */
  closeMenu() {
    const wasOpen = document.body.classList.contains("menu");
    this.#setMenu(false);
    if (wasOpen) byId("menu").focus();
    return wasOpen;
  }

  #setMenu(wanted) {
    const open = wanted && matchMedia(NARROW).matches;
    document.body.classList.toggle("menu", open);
    document.querySelector("main").inert = open;
    byId("menu").setAttribute("aria-expanded", String(open));
  }

  #item(chat, isOpen, isRunning) {
    const title = el("span", { class: "title" }, chat.title);
    const running = isRunning ? [el("span", { class: "running", role: "img", "aria-label": "(answering)" })] : [];
    const mark = chat.temporary ? [el("span", { class: "mark" }, "temporary")] : [];
    const attributes = { type: "button", class: "chat", "aria-current": isOpen && "true", on: { click: () => this.act.open(chat) } };
    const open = el("button", attributes, title, ...mark, ...running);
    return el("li", { "data-id": chat.id }, open, iconButton("trash", `Delete “${chat.title}”`, () => this.#forget(chat)));
  }

  #forget(chat) {
    this.act.forget(chat);
    if (document.activeElement === document.body) byId("new-chat").focus();
    const toast = byId("toast");
    const [words, button] = toast.children;
    const end = () => {
      toast.hidden = true;
    };
    words.textContent = "The chat is deleted here. The agent keeps what it has learnt.";
    button.onclick = () => {
      end();
      this.act.restore(chat);
    };
    toast.hidden = false;
    clearTimeout(this.#undo);
    this.#undo = setTimeout(end, UNDO_FOR);
  }
}
