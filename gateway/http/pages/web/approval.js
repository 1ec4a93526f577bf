// The buttons that answer the question whether the agent may do something.

import { el } from "./dom.js";

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
