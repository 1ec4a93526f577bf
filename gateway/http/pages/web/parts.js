// What an answer is made of, from the events of its response: thoughts, tool lines, text. No page.

import { textOf } from "./chats.js";
import { wordsOf } from "./asked.js";

// The gateway writes a line of its own into the thoughts when a tool of Letta's is used.
const TOOL_LINE = /^Using (\S+)…$/;
const DEFUSED = /<\u200b(?=\/?think>)/g;

/** Puts the events of a response into `answer.parts`. With `answer.before`, they go on with the text that is there. */
export class PartsReader {
  #asked = [];

  constructor(answer) {
    this.answer = answer;
    this.last = answer.before ? answer.parts.at(-1) : null;
  }

  receive(event) {
    const { type, delta, item, response } = event;
    if (type === "response.reasoning_summary_text.delta") this.#add("thoughts", delta);
    else if (type === "response.output_text.delta") this.#add("text", delta);
    else if (type === "response.output_item.added") this.#open(item);
    else if (response) this.#note(response);
  }

  /** The whole of a response, in the place of what was told of it. */
  receiveWhole(response) {
    this.answer.parts = structuredClone(this.answer.before ?? []);
    this.last = this.answer.before ? this.answer.parts.at(-1) : null;
    for (const item of response.output) {
      this.#open(item);
      for (const { text } of item.summary ?? []) this.#add("thoughts", text);
      if (item.type === "message") for (const { text } of item.content) this.#add("text", text);
    }
    this.#note(response);
  }

  #open({ type, name, arguments: given }) {
    // Each step of the agent has a block of its own.
    if (type === "reasoning" && this.#before("thoughts")?.kind === "thoughts") this.#add("thoughts", "\n\n");
    else if (type === "mcp_call") this.#add("thoughts", `\nUsing ${name}…\n`);
    else if (type === "mcp_approval_request") this.#asked.push({ name, given });
  }

  #note({ status, usage, incomplete_details: cut }) {
    if (usage) {
      const { input_tokens: read, output_tokens: written, total_tokens: total } = usage;
      this.answer.usage = { prompt_tokens: read, completion_tokens: written, total_tokens: total };
    }
    if (cut) this.answer.reason = "length";
    if (status !== "completed" || !this.#asked.length) return;
    this.#add("text", `${textOf(this.answer) ? "\n\n" : ""}${wordsOf(this.#asked)}`);
    this.#asked = [];
  }

  #add(kind, text) {
    const { parts } = this.answer;
    const part = this.last && kind === "text" ? this.last : this.#before(kind);
    if (part?.kind === kind) part.text += text;
    else parts.splice(this.#at(kind) + 1, 0, { kind, text });
  }

  #before(kind) {
    return this.answer.parts[this.#at(kind)];
  }

  /** The place of the part behind which one of this kind comes. */
  #at(kind) {
    const { parts } = this.answer;
    return this.last && kind === "thoughts" ? parts.indexOf(this.last) - 1 : parts.length - 1;
  }
}

/** What a person reads of a text, which was kept as it came. */
export const shown = (text) => text.replace(DEFUSED, "<");

/** An answer as it is shown: `{kind: "thoughts" | "text", text}` and `{kind: "tool", name}`. */
export function segments(answer) {
  return answer.parts.flatMap((part) => (part.kind === "text" ? part : ofThoughts(part.text))).filter(isSeen);
}

function ofThoughts(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const tool = TOOL_LINE.exec(line);
    if (tool) found.push({ kind: "tool", name: tool[1] });
    else if (found.at(-1)?.kind === "thoughts") found.at(-1).text += `\n${line}`;
    else found.push({ kind: "thoughts", text: line });
  }
  return found;
}

const isSeen = (segment) => segment.kind === "tool" || segment.text.trim() !== "";
