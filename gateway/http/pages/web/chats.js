// Chats as trees of messages, of which one branch is on screen. No storage, no page.

/** What an error is called that says: this key must know who asks. */
export const NAMELESS = "user_required";

/** An id nobody has; `crypto.randomUUID` is missing where a page came over plain HTTP. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A temporary chat is kept nowhere: it ends with the page, and in Letta some time after its last turn. */
export function newChat(owner, model, temporary = false) {
  return { id: newId(), owner, model, temporary, title: "", used: Date.now(), messages: [], chosen: {} };
}

/** A message of the person's, who wrote `text` and shows `pictures` of the album. */
export function question(parent, { text, pictures = [] }) {
  return { id: newId(), role: "user", parent, text, ...(pictures.length && { pictures }) };
}

export function answer(parent, model) {
  return { id: newId(), role: "assistant", parent, model, parts: [], state: "streaming" };
}

/** Put a message into the chat, and on screen. */
export function add(chat, message) {
  chat.messages.push(message);
  chat.title ||= titleOf(message.text) || (message.pictures ? "A picture" : "");
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

/** Show the branches on which `message` stands, from the first. */
export function bring(chat, message) {
  const byId = new Map(chat.messages.map((other) => [other.id, other]));
  for (let at = message; at; at = byId.get(at.parent)) choose(chat, at);
}

/** What a chat is called. */
export const nameOf = (chat) => chat.title || "Chat without words";

/** The messages in the place of `message`, itself included, in the order in which they were made. */
export function versions(chat, message) {
  return chat.messages.filter((other) => other.parent === message.parent);
}

/** The branch on screen, to its end or to the message with the id `end`. */
export function path(chat, end = null) {
  const children = childrenOf(chat);
  const found = [];
  for (let at = null; ; at = found.at(-1).id) {
    if (end !== null && at === end) return found;
    const next = chosen(chat, children.get(at) ?? [], at);
    if (!next) return found;
    found.push(next);
  }
}

/** The messages in the place of each other, in the order in which they were made, by the id of the one before. */
export function childrenOf(chat) {
  const children = new Map();
  for (const message of chat.messages) {
    if (!children.has(message.parent)) children.set(message.parent, []);
    children.get(message.parent).push(message);
  }
  return children;
}

function chosen(chat, children, parent) {
  return children.find((message) => message.id === chat.chosen[parent ?? ""]) ?? children.at(-1);
}

/** The message with this id. */
export const find = (chat, id) => chat.messages.find((message) => message.id === id);

/** The answer that ends a chat of nobody's, if its message was refused for want of a name. */
export function nameless(chat) {
  const last = path(chat).at(-1);
  return !chat.owner && last?.error?.code === NAMELESS ? last : undefined;
}

/** What is sent of a message: an answer's thoughts are not. */
export function said(message) {
  return message.role === "user" ? message.text : textOf(message);
}

export function textOf(message) {
  return message.parts.filter((part) => part.kind === "text").map((part) => part.text).join("");
}

/** The pictures that these messages show. */
export const picturesOf = (messages) => messages.flatMap(({ pictures }) => pictures ?? []);

/** The branch that ends with `message`, as a request tells it: what is empty is left out, and so are pictures without address. */
export function history(chat, message, addresses = new Map()) {
  return path(chat, message.id)
    .map((each) => ({ role: each.role, content: contentOf(each, addresses) }))
    .filter(({ content }) => content.length);
}

function contentOf(message, addresses) {
  const [text, urls] = [said(message), picturesOf([message]).map(({ id }) => addresses.get(id)).filter(Boolean)];
  if (!urls.length) return text;
  const shown = urls.map((url) => ({ type: "image_url", image_url: { url } }));
  return text.trim() ? [{ type: "text", text }, ...shown] : shown;
}

/** A history as the input of a response. */
export const items = (messages) => messages.map(({ role, content }) => ({ role, content: inputOf(content) }));

function inputOf(content) {
  if (typeof content === "string") return content;
  return content.map(({ text, image_url: image }) => (image ? { type: "input_image", image_url: image.url } : { type: "input_text", text }));
}

/** The headers by which a request says which messages of which chat it is about. */
export function idsOf(chat, reply) {
  const asked = find(chat, reply.parent);
  return {
    "x-chat-id": chat.id,
    ...(chat.temporary && { "x-temporary-chat": "true" }),
    "x-message-id": reply.id,
    "x-user-message-id": asked.id,
    "x-parent-id": asked.parent ?? "",
  };
}

function titleOf(text = "") {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > 60 ? `${line.slice(0, 59).replace(/ \S*$/, "")}…` : line;
}
