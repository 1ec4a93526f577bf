// Names for those who hear the page: whose a message is, and of each of its buttons of which message it is.

// In letters: enough to tell messages apart.
const GLANCE = 40;

/** Name the article of a view by `who` says it, and each `[button, does]` by what it does to the message or answer. */
export function nameParts(view, who, asked, buttons) {
  const words = asked ? glanceAtWritten(asked) : "";
  const whose = view.message.role === "user" ? `your message${words && ` ${words}`}` : `the answer${words && ` to ${words}`}`;
  const all = [[view.versions, "Versions of"], [view.previous, "Previous version of"], [view.next, "Next version of"], ...buttons];
  setName(view.article, who);
  for (const [node, does] of all) setName(node, `${does} ${whose}`);
}

/** The first words of what a person wrote; without any, what its pictures are called. */
export function glanceAtWritten({ text = "", pictures = [] }) {
  return glanceAt(text) || glanceAt(pictures.map(({ name }) => name).join(", "));
}

/** The first words of a text, in quotation marks. */
export function glanceAt(text) {
  const words = text.slice(0, 2 * GLANCE).trim().replace(/\s+/g, " ");
  return words && `“${words.length > GLANCE ? `${words.slice(0, GLANCE - 1).trimEnd()}…` : words}”`;
}

function setName(node, name) {
  if (node.getAttribute("aria-label") !== name) node.setAttribute("aria-label", name);
}
