// What a person has written and not sent, texts and pictures: in each chat a draft, and the messages that wait while an
// answer comes. A reload finds the texts.

import * as store from "./store.js";

const NONE = [];

export class Unsent {
  #drafts = new Map();
  #waiting = new Map();

  /** What is written in a chat: `{text, pictures}`. Its pictures come and go in their array, however long they are read. */
  draft(chat) {
    const place = placeOf(chat);
    if (!this.#drafts.has(place)) this.#drafts.set(place, { text: store.readDraft(place), pictures: [] });
    return this.#drafts.get(place);
  }

  write(chat, text) {
    this.draft(chat).text = text;
    this.#keep(chat);
  }

  /** What is written, which is no draft any more. */
  take(chat) {
    const draft = this.draft(chat);
    this.#drafts.set(placeOf(chat), { text: "", pictures: [] });
    this.#keep(chat);
    return draft;
  }

  /** What is written in `chat` is the beginning of what is written in `other`. */
  move(chat, other) {
    if (placeOf(chat) === placeOf(other)) return;
    const [draft, behind] = [this.take(chat), this.draft(other)];
    draft.text = joined([draft, behind]);
    draft.pictures.push(...behind.pictures);
    this.#drafts.set(placeOf(other), draft);
    this.#keep(other);
  }

  /** The messages that wait, in the order in which they are sent: another array whenever they are others. */
  waiting(chat) {
    return this.#waiting.get(chat.id) ?? NONE;
  }

  /** What is written waits from now on. */
  wait(chat) {
    this.#setWaiting(chat, [...this.waiting(chat), this.take(chat)]);
  }

  /** The message that stands at `place` waits no more; undefined if none did. */
  takeWaiting(chat, place) {
    const messages = [...this.waiting(chat)];
    const [message] = messages.splice(place, 1);
    this.#setWaiting(chat, messages);
    return message;
  }

  /** The message at `place` is the beginning of the draft again; without one, all that wait are. */
  giveBack(chat, place) {
    const back = place === undefined ? this.waiting(chat) : [this.waiting(chat)[place]];
    const draft = this.draft(chat);
    draft.text = joined([...back, draft]);
    draft.pictures.unshift(...back.flatMap(({ pictures }) => pictures));
    this.#setWaiting(chat, this.waiting(chat).filter((message) => !back.includes(message)));
  }

  #setWaiting(chat, messages) {
    if (messages.length) this.#waiting.set(chat.id, messages);
    else this.#waiting.delete(chat.id);
    this.#keep(chat);
  }

  #keep(chat) {
    if (!chat.temporary) store.keepDraft(placeOf(chat), joined([...this.waiting(chat), this.draft(chat)]));
  }
}

/** Where a draft is kept: all chats in which nothing is said yet share one, but for temporary ones. */
const placeOf = (chat) => (chat.messages.length || chat.temporary ? chat.id : "new");

const joined = (written) => written.map(({ text }) => text).filter((text) => text.trim()).join("\n\n");
