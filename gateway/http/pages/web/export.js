// A chat as a file: as a person reads it, or with everything that is kept of it.

import { nameOf, path, picturesOf, said } from "./chats.js";
import { el } from "./dom.js";
import { shown } from "./parts.js";

// Letters that a name of a file has not got on some system.
const NOT_IN_NAMES = /[\p{C}\\/:*?"<>|]+/gu;
const LONGEST_NAME = 80;
// In milliseconds: until then every browser has taken it.
const TAKEN_AFTER = 60_000;

/** The messages on screen as Markdown: who said it, the text as it was written, and what its pictures are called. */
export function toMarkdown(chat, { nameOf: modelOf }) {
  const whose = ({ role, model }) => (role === "user" ? chat.owner || "You" : modelOf(model));
  const parts = (message) => [shown(said(message)).trim(), ...picturesOf([message]).map(({ name }) => `*Picture: ${name}*`)].filter(Boolean);
  const messages = path(chat).map((message) => [whose(message), parts(message)]).filter(([, texts]) => texts.length);
  return [`# ${nameOf(chat)}\n`, ...messages.map(([who, texts]) => `## ${who}\n\n${texts.join("\n\n")}\n`)].join("\n");
}

/** All versions of all messages, with pictures, thoughts, tools and usage, as the page keeps them. */
export async function toJson(chat, { addressesOf }) {
  const addresses = await addressesOf(picturesOf(chat.messages));
  const withAddress = (picture) => ({ ...picture, url: addresses.get(picture.id) });
  const whole = (message) => (message.pictures ? { ...message, pictures: message.pictures.map(withAddress) } : message);
  return `${JSON.stringify({ ...chat, messages: chat.messages.map(whole) }, null, 2)}\n`;
}

/** Have the browser save `text` as a file that is called as the chat is. */
export function download(chat, ending, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: url, download: `${fileNameOf(chat)}.${ending}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), TAKEN_AFTER);
}

function fileNameOf(chat) {
  const words = nameOf(chat).slice(0, LONGEST_NAME).replace(NOT_IN_NAMES, " ").split(/\s+/);
  // One that begins with a dot is hidden.
  return words.filter((word) => /[^.]/.test(word)).join(" ").replace(/^\.+/, "") || "chat";
}
