// Elements and icons. Text becomes text nodes, and nothing is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  again: "M20 12a8 8 0 1 1-2.3-5.7M20 4v5h-5",
  check: "M5 13l4 4L19 7",
  clock: "M12 8v4l3 2M20 12a8 8 0 1 1-16 0 8 8 0 0 1 16 0z",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h10v10H9zM15 9V5H5v10h4",
  down: "M12 5v14M6 13l6 6 6-6",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  left: "M15 6l-6 6 6 6",
  menu: "M4 7h16M4 12h16M4 17h16",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  on: "M6 6l6 6-6 6M13 6l6 6-6 6",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9h.01",
  plus: "M12 5v14M5 12h14",
  right: "M9 6l6 6-6 6",
  save: "M12 4v11M7 10l5 5 5-5M5 20h14",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M8 8h8v8H8z",
  tool: "M15 6a4.5 4.5 0 0 0-6 6l-5 5 3 3 5-5a4.5 4.5 0 0 0 6-6l-3 3-3-3z",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
};

/** An element with attributes, listeners (`on`) and children, of which strings become text. */
export function el(tag, { on = {}, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener);
  node.append(...children);
  return node;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const shape = document.createElementNS(SVG, "path");
  shape.setAttribute("d", SHAPES[name]);
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.append(shape);
  return svg;
}

/** A button that is an icon, and says in words what it does. */
export function iconButton(name, label, press) {
  return el("button", { type: "button", class: "icon", title: label, "aria-label": label, on: { click: press } }, icon(name));
}

/** Make `nodes` the children of `parent`; what is in its place already is left alone. */
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at = parent.firstChild;
  for (const node of nodes) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
}

export const byId = (id) => document.getElementById(id);

/** Copy `text`, and show on `button` that it was done. */
export async function copy(text, button) {
  // https://developer.mozilla.org/docs/Web/API/Clipboard: there is none where a page came over plain HTTP.
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copyBySelection(text);
  const before = [...button.childNodes];
  if (button.dataset.copied) return;
  button.dataset.copied = "yes";
  button.replaceChildren(icon("check"));
  setTimeout(() => {
    button.replaceChildren(...before);
    delete button.dataset.copied;
  }, 1500);
}

function copyBySelection(text) {
  const field = el("textarea", { class: "unseen", readonly: true });
  const focused = document.activeElement;
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
  focused?.focus();
}
