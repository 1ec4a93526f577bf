// Markdown in blocks: paragraphs, headings, lists, quotes, code, tables, rules. Builds nodes, never HTML.
// What is still being written renders, too: half a fence is code, half a table a paragraph.

import { copy, el } from "./dom.js";
import { appendInline } from "./inline.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( +(?=\S)|\s*$)/;
const CELLS = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
// Deeper than anybody writes; what is deeper is text.
const MAX_DEPTH = 16;

/** Show `text` in `container`: blocks that have not changed since the last time stay as they are. */
export function renderMarkdown(container, text) {
  const blocks = readBlocks(text.split(/\r\n?|\n/), 0);
  const before = container.blocks ?? [];
  const sources = blocks.map((block) => JSON.stringify(block));
  const same = sources.findIndex((source, i) => source !== before[i]);
  const kept = same < 0 ? sources.length : same;
  while (container.childNodes.length > kept) container.lastChild.remove();
  container.append(...blocks.slice(kept).map(toNode));
  container.blocks = sources;
}

function readBlocks(lines, depth) {
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const { block, end } = readBlock(lines, at, depth);
    blocks.push(block);
    at = end;
  }
  return blocks;
}

function readBlock(lines, at, depth) {
  const line = lines[at];
  if (FENCE.test(line)) return readFence(lines, at);
  if (HEADING.test(line)) return readHeading(line, at);
  if (RULE.test(line)) return { block: { kind: "hr" }, end: at + 1 };
  if (QUOTE.test(line) && depth < MAX_DEPTH) return readQuote(lines, at, depth);
  if (ITEM.test(line) && depth < MAX_DEPTH) return readList(lines, at, depth);
  if (isTable(lines, at)) return readTable(lines, at);
  return readParagraph(lines, at);
}

function readFence(lines, at) {
  const [line, fence, language] = FENCE.exec(lines[at]);
  const indent = line.search(/\S/);
  const close = new RegExp(`^ {0,3}\\${fence[0]}{${fence.length},}\\s*$`);
  const found = lines.findIndex((other, i) => i > at && close.test(other));
  const end = found < 0 ? lines.length : found;
  const code = lines.slice(at + 1, end).map((other) => unindented(other, indent));
  return { block: { kind: "code", language, text: code.join("\n") }, end: end + 1 };
}

function readHeading(line, at) {
  const [, marks, text = ""] = HEADING.exec(line);
  return { block: { kind: "heading", level: marks.length, text }, end: at + 1 };
}

function readQuote(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && (QUOTE.test(lines[end]) || goesOn(lines, end))) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return { block: { kind: "quote", blocks: readBlocks(inner, depth + 1) }, end };
}

function readList(lines, at, depth) {
  const kind = kindOf(lines[at]);
  const items = [];
  let loose = false;
  let end = at;
  while (end < lines.length && isItem(lines[end], kind)) {
    const item = readItem(lines, end);
    items.push(readBlocks(item.lines, depth + 1));
    end = afterBlank(lines, item.end);
    const ends = end >= lines.length || !isItem(lines[end], kind);
    loose ||= item.loose || (!ends && end > item.end);
    if (ends) end = item.end;
  }
  const start = kind.length > 1 ? Number.parseInt(ITEM.exec(lines[at])[2], 10) : undefined;
  return { block: { kind: "list", start, loose, items }, end };
}

/** `-`, `*` or `+`; `1.` or `1)` for any number. */
const kindOf = (line) => ITEM.exec(line)[2].replace(/\d+/, "1");
const isItem = (line, kind) => ITEM.test(line) && !RULE.test(line) && kindOf(line) === kind;

function readItem(lines, at) {
  const [mark, before, sign] = ITEM.exec(lines[at]);
  // Two more than its own is enough to be inside: models often write no more below a number.
  const inside = before.length + 2;
  const content = mark.trimEnd() === mark ? before.length + sign.length + 1 : mark.length;
  const inner = [lines[at].slice(mark.length)];
  let end = at + 1;
  for (; end < lines.length; end++) {
    const next = afterBlank(lines, end);
    if (next >= lines.length || !(indentOf(lines[next]) >= inside || (next === end && goesOn(lines, end)))) break;
    inner.push(...lines.slice(end, next), unindented(lines[next], content));
    end = next;
  }
  const loose = inner.some((line, i) => !line.trim() && i > 0 && !inFence(inner, i));
  return { lines: inner, end, loose };
}

const inFence = (lines, at) => lines.slice(0, at).filter((line) => FENCE.test(line)).length % 2 === 1;

function afterBlank(lines, at) {
  while (at < lines.length && !lines[at].trim()) at += 1;
  return at;
}

const indentOf = (line) => line.search(/\S/);
const unindented = (line, width) => line.slice(Math.min(width, Math.max(0, line.search(/\S|$/))));

/** Whether a line belongs to the paragraph before it, wherever that stands. */
function goesOn(lines, at) {
  const line = lines[at];
  return Boolean(lines[at - 1].trim() && line.trim()) && !beginsBlock(line);
}

const beginsBlock = (line) => [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));

function isTable(lines, at) {
  return lines[at].includes("|") && CELLS.test(lines[at + 1] ?? "") && cells(lines[at]).length === cells(lines[at + 1]).length;
}

function readTable(lines, at) {
  const sides = cells(lines[at + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "end") : "start"));
  let end = at + 2;
  while (end < lines.length && lines[end].trim() && !beginsBlock(lines[end])) end += 1;
  const rows = lines.slice(at + 2, end).map((line) => sides.map((_, i) => cells(line)[i] ?? ""));
  return { block: { kind: "table", sides, head: cells(lines[at]), rows }, end };
}

/** The cells of a row; a bar with a backslash before it is one of the text. */
function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function readParagraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && goesOn(lines, end) && !isTable(lines, end)) end += 1;
  const text = lines.slice(at, end).map((line) => line.trim());
  return { block: { kind: "paragraph", text: text.join("\n") }, end };
}

function toNode(block) {
  return NODES[block.kind](block);
}

const NODES = {
  hr: () => el("hr"),
  code: ({ language, text }) => codeBlock(language, text),
  paragraph: ({ text }) => withInline(el("p"), text),
  // The page has headings of its own above these.
  heading: ({ level, text }) => withInline(el(`h${Math.min(6, level + 2)}`), text),
  quote: ({ blocks }) => el("blockquote", {}, ...blocks.map(toNode)),
  list: ({ start, loose, items }) =>
    el(start === undefined ? "ul" : "ol", { start: start === 1 ? undefined : start }, ...items.map((item) => listItem(item, loose))),
  table: ({ sides, head, rows }) => table(sides, head, rows),
};

function withInline(node, text) {
  appendInline(node, text);
  return node;
}

function listItem(blocks, loose) {
  const item = el("li");
  for (const block of blocks) {
    if (block.kind === "paragraph" && !loose) appendInline(item, block.text);
    else item.append(toNode(block));
  }
  return item;
}

function codeBlock(language, text) {
  const press = ({ currentTarget }) => copy(text, currentTarget);
  const button = el("button", { type: "button", class: "copy-code", on: { click: press } }, "Copy");
  const head = el("div", { class: "code-head" }, el("span", {}, language), button);
  return el("div", { class: "code" }, head, el("pre", { tabindex: "0" }, el("code", {}, text)));
}

function table(sides, head, rows) {
  const row = (texts, tag) => el("tr", {}, ...texts.map((text, i) => withInline(el(tag, { class: sides[i] }), text)));
  const body = rows.map((texts) => row(texts, "td"));
  return el("div", { class: "table", tabindex: "0" }, el("table", {}, el("thead", {}, row(head, "th")), el("tbody", {}, ...body)));
}
