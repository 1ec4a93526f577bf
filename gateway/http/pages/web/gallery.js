// Pictures of a person's on screen: small in a row, and large on demand.

import { el, iconButton } from "./dom.js";

const LOST = "This picture is not kept here any more";

/** A picture of the album as a button that shows it large; words where it is lost. */
export function pictureOf(album, picture) {
  const image = el("img", { alt: "", width: picture.width, height: picture.height });
  const button = el("button", { type: "button", class: "picture", "aria-label": `Show ${picture.name}` }, image);
  button.title = picture.name;
  load(album, picture, button, image);
  return button;
}

async function load(album, picture, button, image) {
  const blob = await album.get(picture);
  if (!blob) {
    button.replaceChildren(LOST);
    button.setAttribute("aria-label", `${picture.name}: ${LOST}`);
    button.disabled = true;
    return;
  }
  button.addEventListener("click", () => showLarge(blob, picture));
  showBlob(image, blob);
}

function showBlob(image, blob) {
  const address = URL.createObjectURL(blob);
  // Once it is seen, it needs no address.
  for (const event of ["load", "error"]) image.addEventListener(event, () => URL.revokeObjectURL(address));
  image.src = address;
}

function showLarge(blob, { name }) {
  const image = el("img", { alt: name });
  const dialog = el("dialog", { class: "large", "aria-label": name });
  dialog.append(iconButton("close", "Close the picture", () => dialog.close()), image);
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  showBlob(image, blob);
  dialog.showModal();
}
