// Chats as trees of messages, of which one branch is on screen. No storage, no page.

/** An id nobody has; `crypto.randomUUID` is missing where a page came over plain HTTP. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function newChat(owner, model) {
  return { id: newId(), owner, model, title: "", used: Date.now(), messages: [], chosen: {} };
}

export function question(parent, text) {
  return { id: newId(), role: "user", parent, text };
}

export function answer(parent, model) {
  return { id: newId(), role: "assistant", parent, model, parts: [], state: "streaming" };
}

/** Put a message into the chat, and on screen. */
export function add(chat, message) {
  chat.messages.push(message);
  chat.title ||= titleOf(message.text);
  choose(chat, message);
}

export function remove(chat, message) {
  chat.messages = chat.messages.filter((other) => other !== message);
  if (chat.chosen[message.parent ?? ""] === message.id) delete chat.chosen[message.parent ?? ""];
}

/** Show the branch of `message`. */
export function choose(chat, message) {
  chat.chosen[message.parent ?? ""] = message.id;
}

/** What a chat is called. */
export const nameOf = (chat) => chat.title || "Chat without words";

/** The messages in the place of `message`, itself included, in the order in which they were made. */
export function versions(chat, message) {
  return chat.messages.filter((other) => other.parent === message.parent);
}

/** The branch on screen, to its end or to the message with the id `end`. */
export function path(chat, end = null) {
  const found = [];
  for (let at = null; ; at = found.at(-1).id) {
    if (end !== null && at === end) return found;
    const next = chosen(chat, at);
    if (!next) return found;
    found.push(next);
  }
}

function chosen(chat, parent) {
  const children = chat.messages.filter((message) => message.parent === parent);
  return children.find((message) => message.id === chat.chosen[parent ?? ""]) ?? children.at(-1);
}

/** The message with this id. */
export const find = (chat, id) => chat.messages.find((message) => message.id === id);

/** What is sent of a message: an answer's thoughts are not. */
export function said(message) {
  return message.role === "user" ? message.text : textOf(message);
}

export function textOf(message) {
  return message.parts.filter((part) => part.kind === "text").map((part) => part.text).join("");
}

/** The branch that ends with `message`, as a request tells it: what is empty is left out. */
export function history(chat, message) {
  return path(chat, message.id)
    .filter(said)
    .map((each) => ({ role: each.role, content: said(each) }));
}

/** The headers by which a request says which messages it is about. */
export function idsOf(chat, reply) {
  const asked = find(chat, reply.parent);
  return {
    "x-chat-id": chat.id,
    "x-message-id": reply.id,
    "x-user-message-id": asked.id,
    "x-parent-id": asked.parent ?? "",
  };
}

function titleOf(text = "") {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > 60 ? `${line.slice(0, 59).replace(/ \S*$/, "")}…` : line;
}
