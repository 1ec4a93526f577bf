// Turns: what a person asks of a chat, and the answers that stream into it. Knows no page.

import { ApiError } from "./api.js";
import {
  add, answer as newAnswer, bring, choose, find, history, idsOf, path, picturesOf, question, remove, versions,
} from "./chats.js";
import { PartsReader } from "./parts.js";

const KEEP_EVERY = 500;

export class Turns {
  #running = new Map();

  /** `keep(chat)` is called when there is something to keep, `changed(chat, answer)` whenever something is new. */
  constructor(api, album, { keep, changed, ended }) {
    Object.assign(this, { api, album, keep, changed, ended });
  }

  isRunning(chat) {
    return this.#running.has(chat.id);
  }

  /** The next message, after `last`, which is null at the beginning. `written` is its `{text, pictures}`. */
  ask(chat, last, written) {
    const asked = question(last?.id ?? null, written);
    add(chat, asked);
    return this.#answer(chat, asked);
  }

  /** A message that waited for `answer`; it is brought on screen with it. */
  next(chat, answer, written) {
    bring(chat, answer);
    return this.ask(chat, answer, written);
  }

  /** Another message in the place of one that the person wrote. */
  edit(chat, message, written) {
    const asked = question(message.parent, written);
    add(chat, asked);
    return this.#answer(chat, asked);
  }

  /** Another answer to the same message; one that says nothing is replaced by it. */
  again(chat, answer) {
    if (!answer.parts.length) remove(chat, answer);
    return this.#answer(chat, find(chat, answer.parent));
  }

  /** More of an answer that was stopped. */
  goOn(chat, answer) {
    return this.#run(chat, answer, true);
  }

  stop(chat) {
    this.#running.get(chat.id)?.leaving.abort();
  }

  /** The page goes away: keep what has come. */
  stopAll() {
    for (const { chat, answer } of this.#running.values()) {
      answer.state = "stopped";
      this.keep(chat);
      this.stop(chat);
    }
  }

  #answer(chat, asked) {
    const answer = newAnswer(asked.id, chat.model);
    add(chat, answer);
    return this.#run(chat, answer, false);
  }

  async #run(chat, answer, goesOn) {
    const leaving = new AbortController();
    this.#running.set(chat.id, { chat, answer, leaving });
    Object.assign(answer, { state: "streaming", error: undefined, reason: undefined });
    chat.used = Date.now();
    this.keep(chat);
    this.changed(chat, answer);
    try {
      await this.#stream(chat, answer, goesOn, leaving.signal);
      answer.state = "done";
    } catch (error) {
      fail(answer, error, leaving.signal.aborted);
    } finally {
      this.#running.delete(chat.id);
      this.keep(chat);
      this.changed(chat, answer);
      this.ended(chat, answer);
    }
  }

  async #stream(chat, answer, goesOn, signal) {
    const addresses = await this.album.addresses(picturesOf(path(chat, answer.id)));
    signal.throwIfAborted();
    const messages = history(chat, answer, addresses);
    const body = { model: answer.model, messages, ...(chat.owner && { user: chat.owner }) };
    const reader = new PartsReader(answer, goesOn);
    let kept = Date.now();
    for await (const chunk of this.api.complete({ body, headers: idsOf(chat, answer), signal })) {
      reader.receive(chunk);
      this.changed(chat, answer);
      if (Date.now() - kept < KEEP_EVERY) continue;
      kept = Date.now();
      this.keep(chat);
    }
  }
}

function fail(answer, error, stopped) {
  answer.state = stopped ? "stopped" : "failed";
  if (stopped) return;
  const known = error instanceof ApiError;
  answer.error = { message: known ? error.message : "This page made a mistake.", code: error.code, status: error.status };
  if (!known) throw error;
}

/** Show the version of `message` that stands `step` further. */
export function turnTo(chat, message, step) {
  const all = versions(chat, message);
  const other = all[all.indexOf(message) + step];
  if (other) choose(chat, other);
  return other;
}
