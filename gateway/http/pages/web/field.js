// Fields in which a person writes.

/** Enter sends, but not while letters are being composed; Escape ends. */
export function onKeys(event, send, end) {
  // https://developer.mozilla.org/docs/Web/API/Element/keydown_event: 229 is a key that the input method takes, in Safari.
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    send();
  }
  if (event.key === "Escape" && end) {
    event.stopPropagation();
    end();
  }
}

/** Whether a key was pressed alone, and is no part of a letter that is being composed. */
export function isPlain(event) {
  return !(event.isComposing || event.shiftKey || event.altKey || event.ctrlKey || event.metaKey);
}

/** Make a text field as high as its text. */
export function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}
