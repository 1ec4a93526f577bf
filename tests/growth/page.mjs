// Measures how the page's code takes texts that grow: jobs in a file, and how much longer twice a text takes, out.
// What there is of a document is as much as the renderer uses.

import { readFileSync } from "node:fs";
import process from "node:process";

class Node {
  childNodes = [];
  attributes = {};
  constructor(tag, data = "") {
    Object.assign(this, { tag, data, parentNode: null, previousSibling: null, nextSibling: null, first: null, last: null, count: 0 });
  }
  get firstChild() {
    return this.first;
  }
  get lastChild() {
    return this.last;
  }
  get textContent() {
    let text = this.data;
    for (let child = this.first; child && !text; child = child.nextSibling) text = child.textContent;
    return text;
  }
  setAttribute(name, value) {
    this.attributes[name] = value;
  }
  addEventListener() {}
  normalize() {}
  append(...nodes) {
    for (const node of nodes) this.#put(typeof node === "string" ? new Node("", node) : node, null);
  }
  after(node) {
    this.parentNode.#put(node, this.nextSibling);
  }
  replaceWith(...nodes) {
    const [parent, next] = [this.parentNode, this.nextSibling];
    this.remove();
    for (const node of nodes) parent.#put(typeof node === "string" ? new Node("", node) : node, next);
  }
  remove() {
    const parent = this.parentNode;
    if (!parent) return;
    if (this.previousSibling) this.previousSibling.nextSibling = this.nextSibling;
    else parent.first = this.nextSibling;
    if (this.nextSibling) this.nextSibling.previousSibling = this.previousSibling;
    else parent.last = this.previousSibling;
    this.parentNode = this.previousSibling = this.nextSibling = null;
  }
  querySelectorAll(tag) {
    const found = [];
    for (let child = this.first; child; child = child.nextSibling) {
      if (child.tag === tag) found.push(child);
      found.push(...child.querySelectorAll(tag));
    }
    return found;
  }
  #put(node, before) {
    node.remove();
    node.parentNode = this;
    node.nextSibling = before;
    node.previousSibling = before ? before.previousSibling : this.last;
    if (node.previousSibling) node.previousSibling.nextSibling = node;
    else this.first = node;
    if (before) before.previousSibling = node;
    else this.last = node;
  }
}
Object.defineProperty(Node.prototype, "childNodes", {
  get() {
    const children = [];
    for (let child = this.first; child; child = child.nextSibling) children.push(child);
    return children;
  },
  set() {},
});
globalThis.document = {
  createElement: (tag) => new Node(tag),
  createElementNS: (_, tag) => new Node(tag),
  createTextNode: (text) => new Node("", text),
};

// So much comes at once.
const FRAME = 1024;
const { web, jobs, least, most, glance, micros, rounds, mostRounds, doubtful, certain, linear, plain } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { readOn } = await import(`${web}/blocks.js`);
const { renderMarkdown } = await import(`${web}/markdown.js`);
const { appendInline } = await import(`${web}/inline.js`);
const { appendWritten } = await import(`${web}/written.js`);
const { asks } = await import(`${web}/asked.js`);
const { segments } = await import(`${web}/parts.js`);

/** Read a text as it comes. */
function stream(text) {
  let read = null;
  for (let end = 0; end < text.length; ) read = readOn(read, text.slice(0, (end += FRAME)));
}

const READERS = {
  markdown: () => (text) => renderMarkdown(new Node("div"), text),
  stream: () => stream,
  inline: () => (text) => appendInline(new Node("p"), text),
  segments: () => (text) => segments({ parts: [{ kind: "thoughts", text }] }),
  written: () => (text) => appendWritten(new Node("div"), text),
  asks: () => asks,
  pattern: ({ source, flags }) => {
    const pattern = new RegExp(source, flags);
    return (text) => {
      pattern.lastIndex = 0;
      if (flags.includes("g")) for (const found of text.matchAll(pattern)) found.index;
      else pattern.exec(text);
    };
  },
};

function taken(read, text) {
  const began = process.cpuUsage();
  read(text);
  const { user, system } = process.cpuUsage(began);
  return user + system;
}

function growth(read, textOf) {
  let size = least;
  for (let time; (time = warm(read, textOf(size))) < micros; size = Math.min(size * (time > micros / 64 ? 2 : 8), most / 8)) {
    if (size === most / 8) return 1;
  }
  const first = ratio(read, textOf(size), textOf(2 * size));
  if (first < doubtful || first >= plain) return first;
  const further = ratio(read, textOf(4 * size), textOf(8 * size));
  return first < linear ? further : Math.min(first, further);
}

/** Until it is compiled, code takes as long as it likes. */
const warm = (read, text) => Math.min(taken(read, text), taken(read, text), taken(read, text));

function ratio(read, text, twice) {
  let [best, bestOfTwice] = [Infinity, Infinity];
  for (let done = 1; done <= mostRounds; done++) {
    // What nobody holds any more is taken away before, and not meanwhile.
    globalThis.gc();
    best = Math.min(best, taken(read, text));
    bestOfTwice = Math.min(bestOfTwice, taken(read, twice));
    const now = bestOfTwice / best;
    if ((done > 1 && now < doubtful) || (done >= rounds && !(doubtful <= now && now < certain))) break;
  }
  return bestOfTwice / best;
}

/** The largest size up to a glance's that something comes to its end at in time, and the time. */
function lookAt(read, textOf) {
  for (let size = least; ; size = Math.min(size * 8, glance)) {
    const time = taken(read, textOf(size));
    if (size === glance || time > 2 * micros) return [size, time];
  }
}

const makes = ({ before, piece, after }) => (size) => before + piece.repeat(Math.ceil(size / piece.length)) + after;

/** The two shapes that keep a job busiest, and how each grows. */
function busiest(job) {
  const read = READERS[job.reader](job);
  const looked = job.shapes.map((shape) => ({ shape, textOf: makes(shape) }));
  for (const one of looked) [one.size, one.time] = lookAt(read, one.textOf);
  looked.sort((a, b) => a.size - b.size || b.time - a.time);
  return looked.slice(0, 2).map(({ shape, textOf }) => ({ shape, ratio: growth(read, textOf) }));
}

process.stdout.write(JSON.stringify(jobs.map(busiest)));
