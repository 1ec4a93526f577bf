// A chat as a file: as a person reads it, or with everything that is kept of it.

import { nameOf, path, said } from "./chats.js";
import { el } from "./dom.js";
import { shown } from "./parts.js";

// Letters that a name of a file has not got on some system.
const NOT_IN_NAMES = /[\p{C}\\/:*?"<>|]+/gu;
const LONGEST_NAME = 80;
// In milliseconds: until then every browser has taken it.
const TAKEN_AFTER = 60_000;

/** The messages on screen as Markdown: who said it, and the text as it was written. `modelOf` an id is its name. */
export function toMarkdown(chat, modelOf) {
  const whose = ({ role, model }) => (role === "user" ? chat.owner || "You" : modelOf(model));
  const messages = path(chat).filter(said).map((message) => `## ${whose(message)}\n\n${shown(said(message)).trim()}\n`);
  return [`# ${nameOf(chat)}\n`, ...messages].join("\n");
}

/** All versions of all messages, with thoughts, tools and usage, as the page keeps them. */
export const toJson = (chat) => `${JSON.stringify(chat, null, 2)}\n`;

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
