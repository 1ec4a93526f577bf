// Markdown within a line: emphasis, code, links. Builds nodes, never HTML.
// The way of delimiters and brackets is that of https://spec.commonmark.org/0.31.2/#appendix-a-parsing-strategy

import { el, icon } from "./dom.js";

const SAFE = new Set(["http:", "https:", "mailto:"]);
const PLAIN = /[^\\`*_~[\]!<h\n]+/y;
const ESCAPE = /\\([!-/:-@[-`{-~]|(?=\n))/y;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]+)>/y;
const BARE = /https?:\/\/[^\s<>"`*[\]]+/y;
const STOPS = ".,:;!?'_~";
// Spaces are taken once (a lookahead gives none of them back), for there is more than one place where they may stand.
const TARGET =
  /\((?=(?<before>\s*))\k<before>(?:<(?<angled>[^<>\n]*)>|(?<bare>(?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*))(?=(?<between>\s*))\k<between>(?:(?<=\s)(?:"(?<double>(?:[^"\\]|\\.)*)"|'(?<single>(?:[^'\\]|\\.)*)')(?=(?<after>\s*))\k<after>)?\)/y;
// A picture that stands in the text itself; it may be on its way yet.
const DATA = /\(\s*(data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]*=*)(?:\s*\)|$)/y;
const RUN = /\*+|_+|~+/y;
const WORD = /[\p{L}\p{N}]/u;
const SPACE = /^\s?$/;
// More than anybody writes in one paragraph; elements may not stand thousands deep.
const MAX_OPEN = 300;

/** Append what `text` says to `parent`. */
export function appendInline(parent, text) {
  new Inline(parent, text).read();
}

/** Append `text` to the letter, but for code. */
export function appendCode(parent, text) {
  new Inline(parent, text).readCode();
}

/** The address, where a person may be led there; else null. */
export function safeAddress(text) {
  const address = URL.canParse(text) ? new URL(text) : null;
  return address && SAFE.has(address.protocol) ? address.href : null;
}

class Inline {
  #at = 0;
  #delimiters = [];
  #brackets = [];
  #ticks = null;

  constructor(parent, text) {
    this.parent = parent;
    this.text = text;
  }

  read() {
    while (this.#at < this.text.length) this.#step();
    this.#emphasize(0);
    this.parent.normalize();
  }

  readCode() {
    while (this.#at < this.text.length) {
      const tick = this.text.indexOf("`", this.#at);
      if (tick === this.#at) this.#code();
      else this.#take((tick < 0 ? this.text.length : tick) - this.#at);
    }
  }

  #step() {
    const plain = this.#match(PLAIN);
    if (plain) return this.#add(plain[0]);
    switch (this.text[this.#at]) {
      case "\\":
        return this.#escape();
      case "`":
        return this.#code();
      case "*":
      case "_":
      case "~":
        return this.#delimiter();
      case "[":
        return this.#open("[");
      case "!":
        return this.text[this.#at + 1] === "[" ? this.#open("![") : this.#take(1);
      case "]":
        return this.#close();
      case "\n":
        return this.#break();
      default:
        return this.#address();
    }
  }

  #match(pattern) {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text);
    if (found) this.#at = pattern.lastIndex;
    return found;
  }

  #add(...nodes) {
    this.parent.append(...nodes);
    return this.parent.lastChild;
  }

  #take(length) {
    const node = this.#add(document.createTextNode(this.text.slice(this.#at, this.#at + length)));
    this.#at += length;
    return node;
  }

  #escape() {
    const escaped = this.#match(ESCAPE);
    if (escaped) this.#add(escaped[1]);
    else this.#take(1);
  }

  #code() {
    const [ticks] = this.#match(/`+/y);
    const end = this.#endOfCode(ticks);
    if (end === undefined) return this.#add(ticks);
    const code = this.text.slice(this.#at, end).replaceAll("\n", " ");
    const padded = code.startsWith(" ") && code.endsWith(" ") && /[^ ]/.test(code);
    this.#add(el("code", {}, padded ? code.slice(1, -1) : code));
    this.#at = end + ticks.length;
  }

  /** Where the next run of as many ticks is. The runs of each length are found once, the last first. */
  #endOfCode(ticks) {
    this.#ticks ??= runsOf(this.text);
    const ends = this.#ticks.get(ticks.length) ?? [];
    while (ends.length && ends.at(-1) < this.#at) ends.pop();
    return ends.at(-1);
  }

  // What a person sees on two lines in the source is on two lines: models mean it so.
  #break() {
    this.#at += 1;
    this.#add(el("br"));
  }

  #address() {
    const auto = this.#match(AUTOLINK);
    if (auto) return this.#add(link(auto[1], auto[1].replace(/^mailto:/, "")) ?? auto[0]);
    const bare = WORD.test(this.text[this.#at - 1] ?? "") ? null : this.#match(BARE);
    if (!bare) return this.#take(1);
    const address = trimmed(bare[0]);
    this.#at -= bare[0].length - address.length;
    this.#add(link(address, address) ?? address);
  }

  #delimiter() {
    const before = this.text[this.#at - 1] ?? "";
    const [run] = this.#match(RUN);
    const after = this.text[this.#at] ?? "";
    const left = !SPACE.test(after) && (WORD.test(after) || SPACE.test(before) || !WORD.test(before));
    const right = !SPACE.test(before) && (WORD.test(before) || SPACE.test(after) || !WORD.test(after));
    const inWord = run[0] === "_" && WORD.test(before) && WORD.test(after);
    const node = this.#add(document.createTextNode(run));
    if ((run[0] === "~" && run.length !== 2) || this.#delimiters.length >= MAX_OPEN) return;
    const number = this.#delimiters.length;
    const sides = { opens: left && !inWord, closes: right && !inWord };
    this.#delimiters.push({ node, number, mark: run[0], count: run.length, ...sides });
  }

  #open(mark) {
    const node = this.#take(mark.length);
    if (this.#brackets.length < MAX_OPEN) this.#brackets.push({ node, mark, delimiters: this.#delimiters.length });
  }

  #close() {
    const bracket = this.#brackets.pop();
    const close = this.#take(1);
    const data = bracket?.mark === "![" && this.#match(DATA);
    if (data) return this.#picture(bracket, close, data);
    const target = bracket && this.#match(TARGET);
    if (!target) return;
    const { angled, bare, double, single } = target.groups;
    const address = unescaped(angled ?? bare);
    const anchor = link(address, "", unescaped(double ?? single));
    if (!anchor) return this.#add(target[0]);
    // No link stands in a link, though a picture may: what it holds is moved no more than twice.
    this.#brackets = this.#brackets.filter(({ mark }) => mark === "[" && bracket.mark === "![");
    this.#emphasize(bracket.delimiters);
    moveBetween(bracket.node, close, anchor);
    for (const inner of anchor.querySelectorAll("a")) inner.replaceWith(...inner.childNodes);
    bracket.node.replaceWith(anchor);
    close.remove();
    if (bracket.mark === "![") tellPicture(anchor, address);
    else if (!anchor.textContent) anchor.append(anchor.href);
  }

  /** A picture that is in the text itself, and loads nothing. */
  #picture(bracket, close, [whole, address]) {
    this.#emphasize(bracket.delimiters);
    const alt = [];
    for (let node = bracket.node.nextSibling; node !== close; node = bracket.node.nextSibling) {
      alt.push(node.textContent);
      node.remove();
    }
    const isWhole = whole.endsWith(")");
    const label = alt.join("").trim() || "Picture";
    bracket.node.replaceWith(isWhole ? el("img", { src: address, alt: label }) : `${label}…`);
    close.remove();
  }

  /** Pair the delimiters from the one numbered `first` on. https://spec.commonmark.org/0.31.2/#process-emphasis */
  #emphasize(first) {
    const all = this.#delimiters.splice(first);
    const bottoms = new Map();
    for (let i = 0; i < all.length; ) {
      const closer = all[i];
      const kind = `${closer.mark}${closer.opens}${closer.count % 3}`;
      const at = closer.closes ? openerOf(all, i, bottoms.get(kind) ?? 0) : -1;
      if (at < 0) {
        if (closer.closes) bottoms.set(kind, closer.number);
        i += 1;
        continue;
      }
      wrap(all[at], closer);
      all.splice(at + 1, i - at - 1);
      i = at + 1;
      if (!closer.count) all.splice(i, 1);
      if (all[at].count) continue;
      all.splice(at, 1);
      i -= 1;
    }
  }
}

function runsOf(text) {
  const runs = new Map();
  for (const { 0: run, index } of text.matchAll(/`+/g)) {
    if (!runs.has(run.length)) runs.set(run.length, []);
    runs.get(run.length).push(index);
  }
  for (const found of runs.values()) found.reverse();
  return runs;
}

function openerOf(all, index, bottom) {
  const closer = all[index];
  for (let i = index - 1; i >= 0 && all[i].number >= bottom; i--) {
    if (all[i].mark === closer.mark && all[i].opens && mayPair(all[i], closer)) return i;
  }
  return -1;
}

function mayPair(opener, closer) {
  const odd = (opener.closes || closer.opens) && (opener.count + closer.count) % 3 === 0;
  return closer.mark === "~" || !odd || (opener.count % 3 === 0 && closer.count % 3 === 0);
}

/** Put what stands between two delimiters into an element, and take its marks from them. */
function wrap(opener, closer) {
  const marks = Math.min(opener.count, closer.count, 2);
  const element = el(closer.mark === "~" ? "del" : marks === 2 ? "strong" : "em");
  moveBetween(opener.node, closer.node, element);
  opener.node.after(element);
  for (const delimiter of [opener, closer]) {
    delimiter.count -= marks;
    delimiter.node.data = delimiter.mark.repeat(delimiter.count);
  }
}

function moveBetween(start, end, element) {
  while (start.nextSibling !== end) element.append(start.nextSibling);
}

function link(address, label, title) {
  const href = safeAddress(address);
  return href && el("a", { href, title, target: "_blank", rel: "noopener noreferrer" }, ...(label ? [label] : []));
}

/** Say of a link that it is a picture, and where it is: nothing is loaded from there before a person opens it. */
function tellPicture(anchor, address) {
  const { hostname } = new URL(address);
  anchor.setAttribute("class", "picture-link");
  const label = anchor.textContent ? "Picture: " : "Picture";
  anchor.prepend(icon("picture"), label);
  if (hostname) anchor.append(` (${hostname})`);
}

const unescaped = (text) => text?.replace(/\\([!-/:-@[-`{-~])/g, "$1");

/** An address without what belongs to the sentence around it: its stops, and brackets that close none of its own. */
function trimmed(address) {
  let closed = address.split(")").length - address.split("(").length;
  let end = address.length;
  for (; end; end--) {
    const last = address[end - 1];
    if (last === ")" && closed > 0) closed -= 1;
    else if (!STOPS.includes(last)) break;
  }
  return address.slice(0, end);
}
