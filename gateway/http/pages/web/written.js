// What a person wrote, as it was written: code is shown as code, and all else to the letter.

import { isFence, readFence } from "./blocks.js";
import { el } from "./dom.js";
import { appendCode } from "./inline.js";
import { codeBlock } from "./markdown.js";

// What is longer is folded.
const LINES = 15;
const LETTERS = 1500;

/** Append `text` to `container`. */
export function appendWritten(container, text) {
  const lines = text.split(/\r\n?|\n/);
  for (let at = 0; at < lines.length; ) {
    const from = at;
    if (isFence(lines[at])) {
      const { block, end } = readFence(lines, at);
      container.append(codeBlock(block.language, block.text));
      at = end;
      continue;
    }
    while (at < lines.length && !isFence(lines[at])) at += 1;
    if (lines.slice(from, at).some((line) => line.trim())) container.append(plain(lines, from, at));
  }
}

/** Whether a text is so long that it is folded. */
export const isLong = (text) => text.length > LETTERS || text.split("\n", LINES + 1).length > LINES;

/** Lines of text without those that are empty around them. */
function plain(lines, from, end) {
  const node = el("p", { class: "plain" });
  while (!lines[from].trim()) from += 1;
  while (!lines[end - 1].trim()) end -= 1;
  let text = "";
  for (let at = from; at < end; at++) {
    if (at > from) text += "\n";
    if (lines[at].includes("`")) {
      node.append(text);
      text = "";
      appendCode(node, lines[at]);
    } else text += lines[at];
  }
  node.append(text);
  return node;
}
