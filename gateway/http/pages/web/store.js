// What is kept: chats and the name in the browser; the key, drafts and which chat is open in the tab.
// Of a temporary chat nothing is, wherever that is asked for.

const CHAT = "letta-gateway.chat.";
const NAME = "letta-gateway.name";
const KEY = "letta-gateway.key";
const OPEN = "letta-gateway.open";
const DRAFT = "letta-gateway.draft.";

/** Every chat that is kept, of all names. */
export function readChats() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(CHAT));
  return keys.map((key) => read(localStorage.getItem(key), ({ response }) => !response)).filter(Boolean);
}

/** Throws a DOMException where the browser has no room for more. */
export function keepChat(chat) {
  if (chat.temporary) return;
  localStorage.setItem(CHAT + chat.id, JSON.stringify(chat));
}

export function forgetChat(chat) {
  localStorage.removeItem(CHAT + chat.id);
}

/** Call `changed(id, chat)` when another tab keeps a chat, or forgets it: then `chat` is null. */
export function onOtherTab(changed) {
  addEventListener("storage", ({ key, newValue }) => {
    if (key?.startsWith(CHAT)) changed(key.slice(CHAT.length), read(newValue, () => true));
  });
}

/** A chat; of answers that were streamed, those that `isOver` are stopped: who streamed them is gone, or is another tab. */
function read(json, isOver) {
  const chat = JSON.parse(json);
  for (const message of chat?.messages ?? []) if (message.state === "streaming" && isOver(message)) message.state = "stopped";
  return chat;
}

export const readName = () => localStorage.getItem(NAME) ?? "";
export const keepName = (name) => localStorage.setItem(NAME, name);

export const readKey = () => sessionStorage.getItem(KEY) ?? "";
export const keepKey = (key) => sessionStorage.setItem(KEY, key);

export const readOpen = () => sessionStorage.getItem(OPEN);
export const keepOpen = (chat) => sessionStorage.setItem(OPEN, chat.temporary ? "" : chat.id);

export const readDraft = (id) => sessionStorage.getItem(DRAFT + id) ?? "";

export function keepDraft(id, text) {
  if (text) sessionStorage.setItem(DRAFT + id, text);
  else sessionStorage.removeItem(DRAFT + id);
}
