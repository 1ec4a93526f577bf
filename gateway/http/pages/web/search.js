// Finds chats by the words in their titles and texts, a little at a time: the page goes on meanwhile. No page.

import { picturesOf, said } from "./chats.js";
import { shown } from "./parts.js";

// In milliseconds: a longer one is felt in typing.
const SLICE = 8;
// In letters: what is folded at once, and what is counted at once.
const PIECE = 1 << 15;
const LINE = 1 << 9;
// In letters: how much is shown before a word that was found, and in all.
const BEFORE = 24;
const AROUND = 90;

export class Search {
  #folded = new WeakMap();
  #latest = 0;

  /**
   * Find the chats in which every word of `query` stands. Gives a map from the id of each to the place of a word that is
   * not in its title, or to "". It is null where another search has begun meanwhile, or `stop` was called.
   */
  async find(chats, query) {
    const [words, found, share] = [wordsOf(query), new Map(), new Share()];
    const mine = ++this.#latest;
    for (const chat of chats) {
      const place = await this.#look(chat, words, share);
      if (this.#latest !== mine) return null;
      if (place !== undefined) found.set(chat.id, place);
    }
    return found;
  }

  stop() {
    this.#latest += 1;
  }

  async #look(chat, words, share) {
    const title = fold(chat.title);
    let missing = words.filter((word) => !title.includes(word));
    let place = "";
    for (const message of missing.length ? chat.messages : []) {
      const { text, folded } = await this.#fold(message, share);
      const here = missing.find((word) => folded.includes(word));
      if (here === undefined) continue;
      place ||= excerpt(text, folded, folded.indexOf(here));
      missing = missing.filter((word) => !folded.includes(word));
      if (!missing.length) break;
    }
    return missing.length ? undefined : place;
  }

  /** The text of a message, and its letters as they are compared. An answer grows until it has come. */
  async #fold(message, share) {
    await share.taken();
    const written = [said(message), ...picturesOf([message]).map(({ name }) => name)].join("\n");
    const { length } = written;
    const known = this.#folded.get(message);
    if (known?.length === length) return known;
    const [text, pieces] = [shown(written), []];
    for (const piece of piecesOf(text, PIECE)) {
      pieces.push(fold(piece));
      await share.taken();
    }
    const read = { length, text, folded: pieces.join("") };
    this.#folded.set(message, read);
    return read;
  }
}

/** A share of the one thread that the page has. */
class Share {
  #began = performance.now();

  /** Let the page go on if the share is used up. */
  async taken() {
    if (performance.now() - this.#began < SLICE) return;
    await new Promise((resolve) => setTimeout(resolve));
    this.#began = performance.now();
  }
}

/** True if `query` has anything to look for. */
export const asksFor = (query) => wordsOf(query).length > 0;

const wordsOf = (query) => fold(query).split(/\s+/).filter(Boolean);

/** Letters without their accents, large and small ones alike. */
const fold = (text) => text.normalize("NFKD").replace(/\p{M}+/gu, "").toUpperCase();

/** A text in pieces of some `length`, each of which can be folded by itself: no pair of surrogates is torn. */
function* piecesOf(text, length) {
  for (let at = 0; at < text.length; ) {
    const torn = /[\ud800-\udbff]/.test(text[at + length - 1] ?? "");
    const end = at + length - (torn ? 1 : 0);
    yield text.slice(at, end);
    at = end;
  }
}

/** The words of `text` around the place `at` of its folded letters. */
function excerpt(text, folded, at) {
  const start = Math.max(0, (folded.length === text.length ? at : unfolded(text, at)) - BEFORE);
  const words = text.slice(start, start + AROUND).replace(start > 0 ? /^\S*\s/ : "", "");
  return `${start > 0 ? "…" : ""}${whole(words).replace(/\s+/g, " ").trim()}${start + AROUND < text.length ? "…" : ""}`;
}

/** Without the halves of letters at its ends. */
const whole = (text) => text.replace(/^[\udc00-\udfff]|[\ud800-\udbff]$/g, "");

/** Where in `text` the letter stands that is at `at` when folded. */
function unfolded(text, at) {
  let [end, left] = [0, at];
  for (const piece of piecesOf(text, LINE)) {
    const { length } = fold(piece);
    if (left < length) return end + within(piece, left);
    left -= length;
    end += piece.length;
  }
  return end;
}

function within(piece, at) {
  let [end, left] = [0, at];
  for (const letter of piece) {
    left -= fold(letter).length;
    if (left < 0) break;
    end += letter.length;
  }
  return end;
}
