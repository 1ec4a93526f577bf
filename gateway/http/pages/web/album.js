// The pictures of chats, by their ids: in the browser's database, for what is kept of a chat has no room for them.

import { newId } from "./chats.js";
import { addressOf } from "./pictures.js";

const DATABASE = "letta-gateway.pictures";
const STORE = "pictures";
const BY_TIME = "kept";
// Another tab may be about to send what no chat holds yet.
const UNUSED_FOR = 24 * 3600 * 1000;
// What a request may hold by default (32 MiB), with room for everything else.
const ROOM = 24 * 1024 * 1024;

export class Album {
  #here = new Map();
  #kept = new Set();
  #last = Promise.resolve();
  #database = null;

  /** Take a picture in: `{id, name, width, height}` stands for it. It goes with the page until it is kept. */
  add({ blob, width, height }, name) {
    const id = newId();
    this.#here.set(id, blob);
    return { id, name, width, height };
  }

  /** Keep pictures in the browser. Throws a DOMException where that has no room, or keeps nothing. */
  keep(pictures) {
    return this.#inTurn(() => this.#keep(pictures));
  }

  async #keep(pictures) {
    const ids = pictures.map(({ id }) => id).filter((id) => this.#here.has(id) && !this.#kept.has(id));
    if (!ids.length) return;
    // What could not be kept is not tried again with every piece of an answer.
    for (const id of ids) this.#kept.add(id);
    const records = ids.map((id) => ({ id, blob: this.#here.get(id), [BY_TIME]: Date.now() }));
    await this.#change((store) => records.map((record) => store.put(record)));
  }

  /** The picture, as a Blob; undefined where it is not kept any more. */
  async get({ id }) {
    if (!this.#here.has(id)) {
      const record = await this.#read((store) => store.get(id));
      if (!record) return undefined;
      this.#kept.add(id);
      this.#here.set(id, record.blob);
    }
    return this.#here.get(id);
  }

  /** The addresses that hold these pictures whole, by their ids: as many as a request has room for, the last of them first. */
  async addresses(pictures, room = ROOM) {
    const found = new Map();
    for (const picture of [...pictures].reverse()) {
      const blob = await this.get(picture);
      const address = blob && (await addressOf(blob));
      if (address && address.length > room) break;
      if (address) found.set(picture.id, address);
      room -= address?.length ?? 0;
    }
    return found;
  }

  /** Forget pictures; the page still has them, should their chat come back. */
  forget(pictures) {
    return this.#inTurn(() => this.#forget(pictures));
  }

  async #forget(pictures) {
    for (const picture of pictures) await this.get(picture);
    const ids = pictures.map(({ id }) => id).filter((id) => this.#kept.delete(id));
    if (ids.length) await this.#change((store) => ids.map((id) => store.delete(id)));
  }

  /** Forget what has long been in no chat but these. */
  async sweep(pictures) {
    const used = new Set(pictures.map(({ id }) => id));
    const old = IDBKeyRange.upperBound(Date.now() - UNUSED_FOR);
    const ids = (await this.#read((store) => store.index(BY_TIME).getAllKeys(old))) ?? [];
    const unused = ids.filter((id) => !used.has(id));
    if (unused.length) await this.#change((store) => unused.map((id) => store.delete(id)));
  }

  /** One after the other: a chat that comes back at once is kept after it was forgotten. */
  #inTurn(job) {
    const ended = this.#last.then(job);
    this.#last = ended.catch(() => {}); // whoever asked is told
    return ended;
  }

  /** What a question to the store gives; undefined where the browser has none. */
  async #read(ask) {
    const database = await this.#open().catch(() => null); // nothing is kept by a browser that keeps nothing
    return database && done(ask(database.transaction(STORE).objectStore(STORE)));
  }

  async #change(change) {
    const transaction = (await this.#open()).transaction(STORE, "readwrite");
    const ended = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    change(transaction.objectStore(STORE));
    await ended;
  }

  #open() {
    this.#database ??= opened();
    return this.#database;
  }
}

// Some browsers refuse at once, others later.
async function opened() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" }).createIndex(BY_TIME, BY_TIME);
  return done(request);
}

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
