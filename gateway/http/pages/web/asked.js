// The gateway's question whether the agent may do something. No page.

import { textOf } from "./chats.js";

// As gateway/wires/question.py words it. Whoever else writes these words gets no more by a yes than a message that says
// yes: the gateway allows what Letta waits for, and the question for that is the last that stands in an answer.
const INTRODUCTION = "**May I do this?** It needs your approval:\n";
const CALL = "- run `";
const END = "Please answer **yes** or **no** (or “no, because …”); anything else counts as a no.";

/** True for an answer that has ended with the question, which the next message decides. */
export const asksApproval = (answer) => answer.state === "done" && asks(textOf(answer));

/** True for a text that ends with the question. */
export function asks(text) {
  if (!text.endsWith(END)) return false;
  // All lines of the calls begin with a mark of theirs, and so none of them begins a question.
  const start = `\n${text}`.lastIndexOf(`\n${INTRODUCTION}`);
  if (start < 0) return false;
  const lines = text.slice(start + INTRODUCTION.length, -END.length).split("\n");
  const calls = lines.filter((line) => line.startsWith(CALL));
  return calls.length > 0 && lines.every((line) => !line || line.startsWith("  ") || line.startsWith(CALL));
}

/** The question, of calls that a key is told as items: `{name, given}`, where `given` is JSON. */
export function wordsOf(calls) {
  const lines = calls.map(({ name, given }) => `${CALL}${name}\` with\n${block(given)}`);
  return `${INTRODUCTION}\n${lines.join("\n")}\n\n${END}`;
}

/** Arguments as a person reads them: in a block of code that they cannot end. */
function block(given) {
  const fence = "`".repeat(Math.max(3, ...(given.match(/`+/g) ?? []).map(({ length }) => length + 1)));
  return [`${fence}json`, ...indented(given).split("\n"), fence].map((line) => `  ${line}`).join("\n");
}

function indented(given) {
  try {
    return JSON.stringify(JSON.parse(given), null, 2);
  } catch {
    return given;
  }
}
