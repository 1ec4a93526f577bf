// The gateway's question whether the agent may do something, and the buttons that answer it.

import { textOf } from "./chats.js";
import { el } from "./dom.js";

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

/** Buttons that call `reply` with the words of an answer. */
export function approval(reply) {
  const reason = el("input", { "aria-label": "Why not (if you like)", placeholder: "Why not? (if you like)", maxlength: "2000" });
  const deny = () => reply(reason.value.trim() ? `no, because ${reason.value.trim()}` : "no");
  const allowButton = el("button", { type: "button", class: "main", on: { click: () => reply("yes") } }, "Allow");
  const denyButton = el("button", { type: "submit" }, "Deny");
  const form = el("form", { class: "approval", "aria-label": "Your approval" }, allowButton, denyButton, reason);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    deny();
  });
  return form;
}
