// What an answer is made of, from the chunks of its stream: thoughts, tool lines, text. No page.

// The gateway writes a line of its own into the thoughts when a tool of Letta's is used.
const TOOL_LINE = /^Using (\S+)…$/;
const DEFUSED = /<\u200b(?=\/?think>)/g;

/** Puts chunks into `answer.parts`. With `goesOn`, they go on with the text that is there. */
export class PartsReader {
  #thinking = false;

  constructor(answer, goesOn) {
    this.answer = answer;
    this.last = goesOn ? answer.parts.at(-1) : null;
  }

  receive(chunk) {
    if (chunk.usage) this.answer.usage = chunk.usage;
    for (const { delta, finish_reason } of chunk.choices) {
      if (delta.reasoning_content) this.#add("thoughts", delta.reasoning_content);
      if (delta.content) this.#content(delta.content);
      if (finish_reason) this.answer.reason = finish_reason;
    }
  }

  // A tag is a delta of its own, and one that an agent writes itself is never whole.
  #content(text) {
    if (text === "<think>") this.#open();
    else if (text === "</think>") this.#thinking = false;
    else this.#add(this.#thinking ? "thoughts" : "text", text);
  }

  #open() {
    this.#thinking = true;
    // Each step of the agent has a block of its own.
    if (this.answer.parts.at(-1)?.kind === "thoughts") this.#add("thoughts", "\n\n");
  }

  #add(kind, text) {
    const { parts } = this.answer;
    const at = this.last && kind === "thoughts" ? parts.indexOf(this.last) - 1 : parts.length - 1;
    const part = this.last && kind === "text" ? this.last : parts[at];
    if (part?.kind === kind) part.text += text;
    else parts.splice(at + 1, 0, { kind, text });
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
