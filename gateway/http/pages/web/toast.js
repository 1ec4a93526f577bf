// A few words at the edge of the page, with a button that takes back what they tell.

import { byId } from "./dom.js";

const UNDO_FOR = 8000;
let waiting = 0;

/** Say that something was done, and for a while offer to `undo` it. */
export function offerUndo(words, undo) {
  const toast = byId("toast");
  const [text, button] = toast.children;
  const end = () => {
    toast.hidden = true;
  };
  text.textContent = words;
  button.onclick = () => {
    end();
    undo();
  };
  toast.hidden = false;
  clearTimeout(waiting);
  waiting = setTimeout(end, UNDO_FOR);
}
