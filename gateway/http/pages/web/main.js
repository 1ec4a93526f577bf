// The chat page: who is here, which chat is open, and what keys and buttons do.

import { Album } from "./album.js";
import { Api } from "./api.js";
import { asksApproval } from "./asked.js";
import { nameless, newChat, path, picturesOf } from "./chats.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { byId, icon } from "./dom.js";
import { ChatList } from "./list.js";
import { Messages } from "./messages.js";
import { People } from "./people.js";
import { Scroll } from "./scroll.js";
import * as store from "./store.js";
import { turnTo, Turns } from "./turns.js";
import { Welcome } from "./welcome.js";

const FULL = "This browser has no more room to keep chats: delete some.";
const UNKEPT = "This browser keeps no pictures: they are gone when you close the page.";

for (const button of document.querySelectorAll("[data-icon]")) button.prepend(icon(button.dataset.icon));

const [spoken, model] = ["spoken", "model"].map(byId);
const chats = new Map(store.readChats().map((chat) => [chat.id, chat]));
const api = new Api();
const album = new Album();
const turns = new Turns(api, album, { keep, changed, ended });
const scroll = new Scroll(byId("scroll"), byId("latest"));
const connection = new Connection(api, showModels);
const act = {
  edit: (message, written) => asked(turns.edit(chat, message, written)),
  // The button of an answer far up knows a moment later that the chat is busy.
  again: (answer) => turns.isRunning(chat) || asked(turns.again(chat, answer)),
  goOn: (answer) => asked(turns.goOn(chat, answer)),
  reply: (text) => asked(turns.ask(chat, path(chat).at(-1), { text })),
  turnTo: (message, step) => showVersion(message, step),
  named: (name) => people.rename(name),
};
const messages = new Messages(byId("messages"), act, album);
const list = new ChatList({
  ...{ open, forget, restore, retitle },
  nameOf: (id) => connection.nameOf(id),
  addressesOf: (pictures) => album.addresses(pictures, Infinity),
});
const people = new People(renamed);
const composer = new Composer({ send: sendMessage, stop: () => turns.stop(chat), editLast }, album);
const welcome = new Welcome(takeIdea, (name) => people.rename(name));

let chat = chats.get(store.readOpen());
let drawing = 0;
let connect;
const connected = new Promise((resolve) => (connect = resolve));

/** Open a chat; a new one without any. */
function open(other) {
  chat = other ?? newChat(people.name, model.value);
  store.keepOpen(chat);
  if (connection.has(chat.model)) model.value = chat.model;
  composer.open(chat);
  list.closeMenu();
  show();
  if (chat.messages.length) scroll.toEnd();
  composer.focus();
}

function show() {
  const [shownMessages, busy] = [path(chat), turns.isRunning(chat)];
  messages.show(chat, shownMessages, busy, (id) => connection.nameOf(id));
  welcome.show(!shownMessages.length, people.name, chat.temporary);
  byId("temporary").ariaPressed = String(Boolean(chat.temporary));
  byId("title").textContent = chat.title || (chat.temporary ? "Temporary chat" : "New chat");
  document.title = chat.title ? `${chat.title} – Letta Gateway` : "Letta Gateway";
  composer.show(busy);
  list.show(mine(), chat, (other) => turns.isRunning(other));
  if (shownMessages.length) scroll.follow();
  else byId("scroll").scrollTop = 0;
}

const mine = () => [...chats.values()].filter((other) => other.owner === people.name).sort((a, b) => b.used - a.used);

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
  goOnWith(other, answer);
  show();
  // Unless the next message is being written.
  if (other === chat && composer.isEmpty) messages.focusName(answer);
  if (other === chat && answer.state === "done") spoken.textContent = messages.wordsOf(answer);
}

/** What waited for an answer is sent; if that went wrong, or asks something itself, the person decides. */
function goOnWith(other, answer) {
  if (answer.state !== "done" || asksApproval(answer)) return composer.giveBack(other);
  const written = composer.next(other);
  if (written) turns.next(other, answer, written);
}

function asked(running) {
  spoken.textContent = "Waiting for the answer.";
  show();
  scroll.toEnd();
  composer.focus();
  return running;
}

async function sendMessage() {
  if (!composer.isReady) return;
  if (turns.isRunning(chat)) {
    composer.wait();
    scroll.follow();
    return;
  }
  if (!connection.models.length) {
    const [here, written] = [chat, JSON.stringify(composer.draft)];
    await connection.open();
    // Unless the person did something else meanwhile.
    const isSame = chat === here && JSON.stringify(composer.draft) === written;
    if (connection.models.length && isSame) await sendMessage();
    return;
  }
  chats.set(chat.id, chat);
  chat.model = model.value;
  asked(turns.ask(chat, path(chat).at(-1), composer.take()));
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
    composer.hint(FULL);
  }
  if (!other.temporary) album.keep(picturesOf(other.messages)).catch(tellUnkept);
}

/** Whatever the browser has against keeping pictures: they are sent, and they are here until the page goes. */
function tellUnkept(error) {
  if (!(error instanceof DOMException)) throw error;
  composer.hint(error.name === "QuotaExceededError" ? FULL : UNKEPT);
}

function forget(other) {
  turns.stop(other);
  chats.delete(other.id);
  store.forgetChat(other);
  album.forget(picturesOf(other.messages)).catch(tellUnkept);
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
  connect();
  if (connection.has(chat.model)) model.value = chat.model;
  byId("model-about").textContent = connection.aboutOf(model.value);
  show();
}

/** Edit the person's last message; false where there is none, or while an answer comes. */
function editLast() {
  const last = path(chat).findLast(({ role }) => role === "user");
  if (!last || turns.isRunning(chat)) return false;
  messages.edit(last, () => byId("say").focus());
  return true;
}

function takeIdea(idea) {
  composer.write(idea);
  byId("say").focus();
}

/** A new chat of the other kind; what is written for one in which nothing is said yet comes along. */
function changeKind() {
  const other = newChat(people.name, model.value, !chat.temporary);
  if (!chat.messages.length) composer.moveTo(other);
  open(other);
}

/** Somebody else is here. What was refused for want of a name is theirs, and asked again. */
function renamed(before) {
  const refused = nameless(chat);
  if (refused || !chat.messages.length) give(chat);
  const others = before ? [] : [...chats.values()].filter((other) => !other.owner);
  list.closeMenu();
  if (refused) asked(turns.again(chat, refused));
  if (others.length) people.askAlong(others.length, others.includes(chat), (choice) => takeAlong(others, choice));
  else showMine();
}

/** Of the chats that were nobody's, some come along with the name. */
function takeAlong(others, choice) {
  for (const other of others) if (choice === "all" || (choice === "this" && other === chat)) give(other);
  showMine();
}

function give(other) {
  other.owner = people.name;
  keep(other);
}

/** The chat on screen stays there if it is theirs. */
function showMine() {
  people.offer([...chats.values()]);
  if (chat.owner !== people.name) return open(null);
  show();
  composer.focus();
}

/** What came when the page went away goes on: the last answer of a chat, for one comes at a time. */
function goOnAfterLoad(other) {
  const [last, ...before] = other.messages.filter(({ state }) => state === "streaming").reverse();
  for (const answer of before) answer.state = "stopped";
  if (last) turns.resume(other, last, connected);
}

function fromOtherTab(id, other) {
  const known = chats.get(id);
  if (known && turns.isRunning(known)) return;
  if (other) chats.set(id, other);
  else chats.delete(id);
  if (chat.id === id) composer.moveTo((chat = other ?? newChat(people.name, model.value)));
  show();
}

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
byId("temporary").addEventListener("click", changeKind);
addEventListener("pagehide", () => turns.leaveAll());
store.onOtherTab(fromOtherTab);

people.offer([...chats.values()]);
for (const other of chats.values()) goOnAfterLoad(other);
open(chat?.owner === people.name ? chat : null);
await connection.open();
await album.sweep(picturesOf([...chats.values()].flatMap((other) => other.messages)));
