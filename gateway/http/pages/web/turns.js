// Turns: what a person asks of a chat, and the answers that stream into it. Knows no page.

import { ApiError, failure } from "./api.js";
import {
  add, answer as newAnswer, bring, choose, find, history, idsOf, items, path, picturesOf, question, remove, versions,
} from "./chats.js";
import { PartsReader } from "./parts.js";

const KEEP_EVERY = 500;
// Of a lost connection: so often it is tried again, each time so much later than the time before.
const TRIES = 6;
const LATER = 500;
// How often a response is looked at whose events cannot be had any more.
const LOOK_EVERY = 2000;
const UNDER_WAY = new Set(["queued", "in_progress"]);

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
    answer.before = structuredClone(answer.parts);
    return this.#ask(chat, answer);
  }

  /** The rest of an answer that came when the page went away; it is asked for once `ready` is. */
  resume(chat, answer, ready) {
    return this.#run(chat, answer, (signal) => this.#resumed(answer, ready, signal));
  }

  stop(chat) {
    this.#running.get(chat.id)?.leaving.abort();
  }

  /** The page goes away: keep what has come. What has no name yet by which it is found again is stopped. */
  leaveAll() {
    for (const { chat, answer } of this.#running.values()) {
      if (!answer.response) {
        answer.state = "stopped";
        this.stop(chat);
      }
      this.keep(chat);
    }
  }

  #answer(chat, asked) {
    const answer = newAnswer(asked.id, chat.model);
    add(chat, answer);
    return this.#ask(chat, answer);
  }

  #ask(chat, answer) {
    chat.used = Date.now();
    return this.#run(chat, answer, (signal, leaving) => this.#asked(chat, answer, signal, leaving));
  }

  /** Show what `source` gives: a function of a signal that ends it, and of one that says that nobody wants it any more. */
  async #run(chat, answer, source) {
    const [leaving, connection] = [new AbortController(), new AbortController()];
    const events = this.#lasting(answer, source(connection.signal, leaving.signal), connection.signal);
    this.#running.set(chat.id, { chat, answer, leaving });
    Object.assign(answer, { state: "streaming", error: undefined, reason: undefined });
    this.keep(chat);
    this.changed(chat, answer);
    try {
      await this.#show(chat, answer, until(leaving.signal, events));
      answer.state = "done";
    } catch (error) {
      fail(answer, error, leaving.signal.aborted || (await this.#wasCancelled(answer, error)));
    } finally {
      if (leaving.signal.aborted) this.#letGo(answer.response, events, connection);
      Object.assign(answer, { response: undefined, number: undefined, before: undefined });
      this.#running.delete(chat.id);
      this.keep(chat);
      this.changed(chat, answer);
      this.ended(chat, answer);
    }
  }

  async #show(chat, answer, events) {
    const reader = new PartsReader(answer);
    let kept = Date.now();
    for await (const event of events) {
      if (event.type === "whole") reader.receiveWhole(event.response);
      else reader.receive(event);
      answer.number = event.sequence_number;
      this.changed(chat, answer);
      // Its name at once: whoever opens the page may ask for it.
      if (event.type !== "response.created" && Date.now() - kept < KEEP_EVERY) continue;
      kept = Date.now();
      this.keep(chat);
    }
  }

  /** The events of an answer that is asked for. One of a kept chat goes on though nobody waits for it. */
  async *#asked(chat, answer, signal, leaving) {
    const addresses = await this.album.addresses(picturesOf(path(chat, answer.id)));
    leaving.throwIfAborted();
    const input = items(history(chat, answer, addresses));
    const body = { model: answer.model, input, ...(chat.owner && { user: chat.owner }) };
    const headers = idsOf(chat, answer);
    try {
      yield* this.api.respond({ body: { ...body, background: !chat.temporary }, headers, signal });
    } catch (error) {
      // So many have begun within this hour: this one ends with the page.
      if (error.status !== 429 || error.param !== "background") throw error;
      yield* this.api.respond({ body, headers, signal });
    }
  }

  async *#resumed(answer, ready, signal) {
    await ready;
    yield* this.#rest(answer, signal);
  }

  /** The events that an answer has not had; where nobody has them any more, the whole of it. */
  async *#rest(answer, signal) {
    const id = answer.response;
    try {
      yield* this.api.follow({ id, after: answer.number, signal });
    } catch (error) {
      if (error.status !== 400) throw error;
      let response = await this.api.response(id, signal);
      while (UNDER_WAY.has(response.status)) {
        await pause(LOOK_EVERY);
        response = await this.api.response(id, signal);
      }
      yield { type: "whole", response };
      if (response.status === "failed" || response.status === "cancelled") throw failure(response);
    }
  }

  /** The events of `source`; of a lost connection what comes after those that were had. */
  async *#lasting(answer, source, signal) {
    for (let [events, tries] = [source, 0]; ; tries++) {
      try {
        for await (const event of events) {
          if (event.type === "response.created") answer.response = event.response.id;
          yield event;
          tries = 0;
        }
        return;
      } catch (error) {
        if (!error.lost || !answer.response || tries === TRIES || signal.aborted) throw error;
        await pause(tries * LATER);
        events = this.#rest(answer, signal);
      }
    }
  }

  /** True for an answer that was stopped elsewhere, or of which nothing is known any more. */
  async #wasCancelled({ response }, error) {
    if (!response || !(error instanceof ApiError) || error.lost) return false;
    try {
      return (await this.api.response(response)).status === "cancelled";
    } catch ({ status }) {
      return status === 404;
    }
  }

  /** Nobody wants the rest: it ends as soon as its name is known. */
  async #letGo(id, events, connection) {
    try {
      for (let read; !id && !(read = await events.next()).done; ) id = read.value.response?.id;
      if (id) await this.api.cancel(id);
    } catch (error) {
      // It has ended, or ends when nobody waits for it.
      if (!(error instanceof ApiError || error.name === "AbortError")) throw error;
    } finally {
      connection.abort();
    }
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What `events` gives until `leaving` is aborted; what is being read then is not waited for. */
async function* until(leaving, events) {
  const left = new Promise((_, reject) => leaving.addEventListener("abort", () => reject(leaving.reason)));
  left.catch(() => {}); // it matters only to who waits
  for (let read; !(read = await Promise.race([events.next(), left])).done; ) yield read.value;
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
