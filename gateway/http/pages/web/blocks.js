// Markdown read in blocks: paragraphs, headings, lists, quotes, code, tables, rules. No page.
// What is still being written is read, too: half a fence is code, half a table a paragraph.

// None of them looks at the same letters again and again, however long a line is: tests/growth holds them to it.
const LINE_END = /\r\n?|\n/g;
const FENCE = /^ {0,3}(`{3,}(?!`)|~{3,}(?!~))([^`]*)$/;
const FENCE_END = /^ {0,3}(`+|~+)\s*$/;
const HEADING = /^ {0,3}(#{1,6})(?!\S)/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( +(?=\S)|\s*$)/;
const SIDE = /^:?-+:?$/;
// Deeper than anybody writes; what is deeper is text.
const MAX_DEPTH = 16;

/**
 * The blocks of `text`, of which those that were read for good before are left out.
 *
 * `before` is what this gave for a text that this one goes on from, or null. `final` is how many blocks were read for
 * good before, `blocks` are those after them, and the next time goes on from `next` blocks and the text's place `offset`.
 */
export function readOn(before, text) {
  const { next, offset } = before && begins(text, before.text) ? before : { next: 0, offset: 0 };
  const { lines, places } = linesFrom(text, offset);
  const starts = [];
  const blocks = readBlocks(lines, 0, starts);
  const stays = final(starts, lines.length);
  return { text, final: next, blocks, next: next + stays, offset: places[starts[stays] ?? 0] };
}

/** Whether a text begins with another: forty times as quick as `startsWith` where both are long. */
export const begins = (text, before) => text.slice(0, before.length) === before;

/** The lines of a text from a place of it on, and their places. */
function linesFrom(text, offset) {
  const [lines, places] = [[], [offset]];
  LINE_END.lastIndex = offset;
  for (let end; (end = LINE_END.exec(text)); places.push(LINE_END.lastIndex)) lines.push(text.slice(places.at(-1), end.index));
  lines.push(text.slice(places.at(-1)));
  return { lines, places };
}

/** How many blocks cannot change any more: where one ends is told by the first two lines of the one behind it. */
function final(starts, count) {
  let stays = starts.length - 1;
  while (stays > 0 && starts[stays] + 1 >= count - 1) stays -= 1;
  return Math.max(0, stays);
}

/** The blocks of these lines; where each begins is told in `starts`. */
function readBlocks(lines, depth, starts = []) {
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const { block, end } = readBlock(lines, at, depth);
    blocks.push(block);
    starts.push(at);
    at = end;
  }
  return blocks;
}

function readBlock(lines, at, depth) {
  const line = lines[at];
  if (isFence(line)) return readFence(lines, at);
  if (HEADING.test(line)) return readHeading(line, at);
  if (RULE.test(line)) return { block: { kind: "hr" }, end: at + 1 };
  if (QUOTE.test(line) && depth < MAX_DEPTH) return readQuote(lines, at, depth);
  if (ITEM.test(line) && depth < MAX_DEPTH) return readList(lines, at, depth);
  if (isTable(lines, at)) return readTable(lines, at);
  return readParagraph(lines, at);
}

export const isFence = (line) => FENCE.test(line);

/** The block of code that begins at a fence, and where it ends. */
export function readFence(lines, at) {
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
