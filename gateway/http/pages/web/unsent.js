// What a person has written and not sent: in each chat a draft, and the messages that wait while an answer comes.

import * as store from "./store.js";

export class Unsent {
  #drafts = new Map();
  #waiting = new Map();

  draft(chat) {
    return this.#drafts.get(placeOf(chat)) ?? store.readDraft(placeOf(chat));
  }

  write(chat, text) {
    this.#drafts.set(placeOf(chat), text);
    this.#keep(chat);
  }

  /** The messages that wait, in the order in which they are sent. */
  waiting(chat) {
    return this.#waiting.get(chat.id) ?? [];
  }

  /** What is written waits from now on. */
  wait(chat) {
    this.#setWaiting(chat, [...this.waiting(chat), this.draft(chat)]);
    this.write(chat, "");
  }

  /** The message that stands at `place` waits no more; undefined if none did. */
  take(chat, place) {
    const texts = [...this.waiting(chat)];
    const [text] = texts.splice(place, 1);
    this.#setWaiting(chat, texts);
    return text;
  }

  /** The message at `place` is the beginning of the draft again; without one, all that wait are. */
  giveBack(chat, place) {
    const back = place === undefined ? this.waiting(chat) : [this.take(chat, place)];
    const draft = joined([...back, this.draft(chat)]);
    if (place === undefined) this.#setWaiting(chat, []);
    this.write(chat, draft);
  }

  #setWaiting(chat, texts) {
    if (texts.length) this.#waiting.set(chat.id, texts);
    else this.#waiting.delete(chat.id);
    this.#keep(chat);
  }

  /** A reload finds all of it as a draft. */
  #keep(chat) {
    if (!chat.temporary) store.keepDraft(placeOf(chat), joined([...this.waiting(chat), this.draft(chat)]));
  }
}

/** Where a draft is kept: all chats in which nothing is said yet share one, but for temporary ones. */
const placeOf = (chat) => (chat.messages.length || chat.temporary ? chat.id : "new");

const joined = (texts) => texts.filter((text) => text.trim()).join("\n\n");
