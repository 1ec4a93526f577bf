// The chat page: who is here, which chat is open, and what keys and buttons do.

import { Api } from "./api.js";
import { ChatList } from "./list.js";
import { newChat, path } from "./chats.js";
import { Connection } from "./connection.js";
import { byId, el, icon } from "./dom.js";
import { fit, onKeys } from "./field.js";
import { Messages } from "./messages.js";
import { Scroll } from "./scroll.js";
import * as store from "./store.js";
import { turnTo, Turns } from "./turns.js";

const IDEAS = ["My name is Ada.", "What is my name?", "Remember that I like green tea."];
// The key must know who asks.
const NAMELESS = "user_required";
const WAIT = "The answer is still coming: Esc stops it. What you write is kept here until then.";
const FULL = "This browser has no more room to keep chats: delete some.";

for (const button of document.querySelectorAll("[data-icon]")) button.prepend(icon(button.dataset.icon));

const [say, send, stop, hint, spoken, model] = ["say", "send", "stop", "hint", "spoken", "model"].map(byId);
const chats = new Map(store.readChats().map((chat) => [chat.id, chat]));
const api = new Api();
const turns = new Turns(api, { keep, changed, ended });
const scroll = new Scroll(byId("scroll"), byId("latest"));
const connection = new Connection(api, showModels);
const messages = new Messages(byId("messages"), {
  edit: (message, text) => asked(turns.edit(chat, message, text)),
  again: (answer) => asked(turns.again(chat, answer)),
  goOn: (answer) => asked(turns.goOn(chat, answer)),
  turnTo: (message, step) => showVersion(message, step),
});
const list = new ChatList({ open, forget, restore, retitle, nameOf: (id) => connection.nameOf(id) });

let owner = store.readName();
let chat = chats.get(store.readOpen());
let drawing = 0;

/** Open a chat; a new one without any. */
function open(other) {
  chat = other ?? newChat(owner, model.value);
  store.keepOpen(chat.id);
  if (connection.has(chat.model)) model.value = chat.model;
  say.value = store.readDraft(other ? chat.id : "new");
  fit(say);
  hint.textContent = "";
  list.closeMenu();
  show();
  scroll.toEnd();
  focusSay();
}

function show() {
  const [shownMessages, busy] = [path(chat), turns.isRunning(chat)];
  messages.show(chat, shownMessages, busy, (id) => connection.nameOf(id));
  byId("welcome").hidden = shownMessages.length > 0;
  byId("greeting").textContent = owner ? `Hello, ${owner}` : "Hello";
  byId("title").textContent = chat.title || "New chat";
  document.title = chat.title ? `${chat.title} – Letta Gateway` : "Letta Gateway";
  [send.hidden, stop.hidden] = [busy, !busy];
  send.disabled = !say.value.trim();
  list.show(mine(), chat, (other) => turns.isRunning(other));
  scroll.follow();
}

const mine = () => [...chats.values()].filter((other) => other.owner === owner).sort((a, b) => b.used - a.used);

/** Something is new in an answer: it is drawn with the next picture, however many pieces come until then. */
function changed(other, answer) {
  if (other !== chat) return;
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    messages.refresh(answer);
    scroll.follow();
  });
}

function ended(other, answer) {
  if (answer.error?.status === 401) connection.ask(answer.error.message);
  if (answer.error?.code === NAMELESS) askName();
  if (other === chat && hint.textContent === WAIT) hint.textContent = "";
  show();
  if (other === chat && answer.state === "done") spoken.textContent = messages.wordsOf(answer);
}

function asked(running) {
  spoken.textContent = "Waiting for the answer.";
  show();
  scroll.toEnd();
  focusSay();
  return running;
}

function sendMessage() {
  const text = say.value;
  if (!text.trim()) return;
  if (turns.isRunning(chat)) {
    hint.textContent = WAIT;
    return;
  }
  if (!connection.models.length) {
    connection.open();
    return;
  }
  store.keepDraft(chats.has(chat.id) ? chat.id : "new", "");
  chats.set(chat.id, chat);
  chat.model = model.value;
  say.value = "";
  fit(say);
  asked(turns.ask(chat, path(chat).at(-1), text));
}

function showVersion(message, step) {
  const other = turnTo(chat, message, step);
  keep(chat);
  show();
  messages.focusVersions(other, step);
}

function keep(other) {
  // One that was deleted while its answer came stays so.
  if (!chats.has(other.id)) return;
  try {
    store.keepChat(other);
  } catch (error) {
    if (error.name !== "QuotaExceededError") throw error;
    hint.textContent = FULL;
  }
}

function forget(other) {
  turns.stop(other);
  chats.delete(other.id);
  store.forgetChat(other);
  if (other === chat) open(null);
  else show();
}

function restore(other) {
  chats.set(other.id, other);
  keep(other);
  open(other);
}

function retitle(other, title) {
  other.title = title;
  keep(other);
  show();
}

function showModels() {
  if (connection.has(chat.model)) model.value = chat.model;
  byId("model-about").textContent = connection.aboutOf(model.value);
  show();
}

function showIdeas() {
  const fill = ({ currentTarget }) => {
    say.value = currentTarget.textContent;
    typed();
    say.focus();
  };
  const buttons = IDEAS.map((idea) => el("button", { type: "button", on: { click: fill } }, idea));
  byId("ideas").append(...buttons.map((button) => el("li", {}, button)));
}

function typed() {
  store.keepDraft(chats.has(chat.id) ? chat.id : "new", say.value);
  send.disabled = !say.value.trim();
  fit(say);
}

/** Where there is a keyboard that does not cover the page. */
function focusSay() {
  if (matchMedia("(pointer: fine)").matches) say.focus();
}

function rename() {
  const name = byId("name");
  name.value = name.value.trim();
  if (name.value === owner) return;
  owner = name.value;
  store.keepName(owner);
  const stays = chat.messages.length > 0 && chat.messages.every(isNameless);
  if (stays) chat.owner = owner;
  keep(chat);
  showNames();
  open(stays ? chat : null);
}

/** A message that nobody has heard, for want of a name. */
const isNameless = ({ role, error }) => role === "user" || error?.code === NAMELESS;

function askName() {
  list.openMenu();
  byId("name").focus();
}

function showNames() {
  const names = new Set([...chats.values()].map((other) => other.owner).filter(Boolean));
  byId("names").replaceChildren(...[...names].map((name) => new Option(name)));
}

function fromOtherTab(id, other) {
  const known = chats.get(id);
  if (known && turns.isRunning(known)) return;
  if (other) chats.set(id, other);
  else chats.delete(id);
  if (chat.id === id) chat = other ?? newChat(owner, model.value);
  show();
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  sendMessage();
});
say.addEventListener("keydown", (event) => onKeys(event, sendMessage));
say.addEventListener("input", typed);
stop.addEventListener("click", () => {
  turns.stop(chat);
  focusSay();
});
addEventListener("keydown", (event) => {
  const elsewhere = event.isComposing || document.querySelector("dialog[open]");
  if (event.key === "Escape" && !elsewhere && !list.closeMenu()) turns.stop(chat);
});
model.addEventListener("change", () => {
  chat.model = model.value;
  showModels();
  keep(chat);
});
byId("new-chat").addEventListener("click", () => open(null));
byId("name").addEventListener("change", rename);
byId("name").addEventListener("keydown", (event) => onKeys(event, () => event.target.blur()));
addEventListener("pagehide", () => turns.stopAll());
store.onOtherTab(fromOtherTab);

byId("name").value = owner;
showNames();
showIdeas();
open(chat?.owner === owner ? chat : null);
await connection.open();
