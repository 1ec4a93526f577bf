// Markdown on screen, whole or while it is being written. Builds nodes, never HTML.

import { begins, readOn } from "./blocks.js";
import { copy, el } from "./dom.js";
import { appendInline } from "./inline.js";
import { glanceAt } from "./names.js";

// A cell with more letters is broken into lines; shorter ones are not.
const SHORT = 24;

/** Show `text` in `container`: what has not changed since the last time stays as it is, and is not read again. */
export function renderMarkdown(container, text) {
  const before = container.shown;
  if (text === before?.read.text) return;
  const read = readOn(before?.read ?? null, text);
  const goesOn = before && read.final === before.read.next;
  const views = goesOn ? before.views : [];
  while (!goesOn && container.lastChild) container.lastChild.remove();
  for (const { node } of views.splice(read.blocks.length)) node.remove();
  for (const [i, block] of read.blocks.entries()) views[i] = shownAs(block, views[i], container);
  container.shown = { read, views: views.slice(read.next - read.final) };
}

/** A block in the place of the one before: the same, the same with more in it, or another. */
function shownAs(block, view, container) {
  if (view && isSame(view.block, block)) return view;
  if (view && GROW[block.kind]?.(view, block)) return Object.assign(view, { block });
  const node = toNode(block);
  if (view) view.node.replaceWith(node);
  else container.append(node);
  return { block, node };
}

// What is long and grows at its end: true if what is on screen could go on.
const GROW = {
  code: ({ block, node }, { language, text }) => {
    if (language !== block.language || !begins(text, block.text)) return false;
    codeOf(node).append(text.slice(block.text.length));
    codeOf(node).normalize();
    node.firstChild.lastChild.setAttribute("aria-label", copies(text));
    return true;
  },
  quote: ({ block, node }, { blocks }) => {
    growBy(node, block.blocks, blocks, toNode);
    return true;
  },
  list: ({ block, node }, { start, loose, items }) => {
    if (start !== block.start || loose !== block.loose) return false;
    growBy(node, block.items, items, (item) => listItem(item, loose));
    return true;
  },
  table: ({ block, node }, { sides, head, rows }) => {
    if (!isSame([sides, head], [block.sides, block.head])) return false;
    growBy(node.firstChild.lastChild, block.rows, rows, (texts) => bodyRow(sides, texts));
    return true;
  },
};

/** Show `now` where `before` is shown in `parent`, each as `made` makes it; what is the same stays. */
function growBy(parent, before, now, made) {
  let same = 0;
  while (same < before.length && same < now.length && isSame(before[same], now[same])) same += 1;
  while (parent.childNodes.length > same) parent.lastChild.remove();
  filled(parent, now.slice(same).map(made));
}

const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

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

/** A block of code, with what it is written in, and a button that copies it. */
export function codeBlock(language, text) {
  const press = ({ currentTarget }) => copy(codeOf(node).textContent, currentTarget);
  const button = el("button", { type: "button", class: "copy-code", "aria-label": copies(text), on: { click: press } }, "Copy");
  const head = el("div", { class: "code-head" }, el("span", {}, language), button);
  const node = el("div", { class: "code" }, head, el("pre", { tabindex: "0" }, el("code", {}, text)));
  return node;
}

/** The name of the button that copies a code. */
const copies = (text) => `Copy the code ${glanceAt(text)}`.trimEnd();

const codeOf = (node) => node.lastChild.lastChild;

function table(sides, head, rows) {
  const body = filled(el("tbody"), rows.map((texts) => bodyRow(sides, texts)));
  return el("div", { class: "table", tabindex: "0" }, el("table", {}, el("thead", {}, row(sides, head, "th")), body));
}

function bodyRow(sides, texts) {
  const missing = sides.length - texts.length;
  const node = row(sides, texts, "td");
  if (missing) node.append(el("td", { class: sides[texts.length], colspan: missing > 1 && missing }));
  return node;
}

function row(sides, texts, tag) {
  const cells = texts.map((text, i) => withInline(el(tag, { class: text.length > SHORT ? `${sides[i]} long` : sides[i] }), text));
  return filled(el("tr"), cells);
}
