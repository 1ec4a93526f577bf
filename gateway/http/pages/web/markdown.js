// Markdown in blocks: paragraphs, headings, lists, quotes, code, tables, rules. Builds nodes, never HTML.
// What is still being written renders, too: half a fence is code, half a table a paragraph.

import { copy, el } from "./dom.js";
import { appendInline } from "./inline.js";
import { glanceAt } from "./names.js";

// None of them looks at the same letters again and again, however long a line is: tests/growth holds them to it.
const FENCE = /^ {0,3}(`{3,}(?!`)|~{3,}(?!~))([^`]*)$/;
const FENCE_END = /^ {0,3}(`+|~+)\s*$/;
const HEADING = /^ {0,3}(#{1,6})(?!\S)/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( +(?=\S)|\s*$)/;
const SIDE = /^:?-+:?$/;
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
  filled(container, blocks.slice(kept).map(toNode));
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
  const [line, fence, about] = FENCE.exec(lines[at]);
  const [language] = about.trim().split(/\s/, 1);
  const indent = line.search(/\S/);
  let end = at + 1;
  while (end < lines.length && !closes(lines[end], fence)) end += 1;
  const code = lines.slice(at + 1, end).map((other) => unindented(other, indent));
  return { block: { kind: "code", language, text: code.join("\n") }, end: end + 1 };
}

function closes(line, fence) {
  const [, marks = ""] = FENCE_END.exec(line) ?? [];
  return marks.length >= fence.length && marks[0] === fence[0];
}

function readHeading(line, at) {
  const [whole, marks] = HEADING.exec(line);
  return { block: { kind: "heading", level: marks.length, text: unmarked(line.slice(whole.length).trim()) }, end: at + 1 };
}

/** The text of a heading without the marks at its end. */
function unmarked(text) {
  let end = text.length;
  while (text[end - 1] === "#") end -= 1;
  const before = text.slice(0, end);
  return before && before.trimEnd() !== before ? before.trimEnd() : text;
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
    for (; end < next; end++) inner.push(lines[end]);
    inner.push(unindented(lines[next], content));
  }
  return { lines: inner, end, loose: isLoose(inner) };
}

/** Whether a blank line stands in an item, outside of code. */
function isLoose(lines) {
  let inFence = false;
  for (const [i, line] of lines.entries()) {
    if (!line.trim() && i > 0 && !inFence) return true;
    if (FENCE.test(line)) inFence = !inFence;
  }
  return false;
}

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
  if (!lines[at].includes("|") || at + 1 === lines.length) return false;
  const sides = cells(lines[at + 1]);
  return sides.every((cell) => SIDE.test(cell)) && cells(lines[at]).length === sides.length;
}

function readTable(lines, at) {
  const sides = cells(lines[at + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "end") : "start"));
  let end = at + 2;
  while (end < lines.length && lines[end].trim() && !beginsBlock(lines[end])) end += 1;
  const rows = lines.slice(at + 2, end).map((line) => cells(line).slice(0, sides.length));
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
  quote: ({ blocks }) => filled(el("blockquote"), blocks.map(toNode)),
  list: ({ start, loose, items }) => {
    const list = el(start === undefined ? "ul" : "ol", { start: start === 1 ? undefined : start });
    return filled(list, items.map((item) => listItem(item, loose)));
  },
  table: ({ sides, head, rows }) => table(sides, head, rows),
};

/** One by one: there may be more than a call takes. */
function filled(node, children) {
  for (const child of children) node.append(child);
  return node;
}

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
  const about = `Copy the code ${glanceAt(text)}`.trimEnd();
  const button = el("button", { type: "button", class: "copy-code", "aria-label": about, on: { click: press } }, "Copy");
  const head = el("div", { class: "code-head" }, el("span", {}, language), button);
  return el("div", { class: "code" }, head, el("pre", { tabindex: "0" }, el("code", {}, text)));
}

function table(sides, head, rows) {
  const row = (texts, tag) => filled(el("tr"), texts.map((text, i) => withInline(el(tag, { class: sides[i] }), text)));
  const body = rows.map((texts) => {
    const missing = sides.length - texts.length;
    const node = row(texts, "td");
    if (missing) node.append(el("td", { class: sides[texts.length], colspan: missing > 1 && missing }));
    return node;
  });
  const shown = el("table", {}, el("thead", {}, row(head, "th")), filled(el("tbody"), body));
  return el("div", { class: "table", tabindex: "0" }, shown);
}
