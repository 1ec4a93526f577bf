// Pictures beside a field: chosen from files, pasted or dropped, shown small, and removed again.

import { el, iconButton } from "./dom.js";
import { ACCEPTED, PictureError, readPicture } from "./pictures.js";
import { pictureOf } from "./gallery.js";

const MOST = 10;
const TOO_MANY = `A message holds ${MOST} pictures at most.`;

export class Attachments {
  #pictures = [];
  /** The arrays into which pictures are being read. */
  #reading = [];

  /** `changed` is called when there is something else to send, or nothing more to wait for; `add` is what its button says. */
  constructor(album, changed, add = "Add pictures") {
    this.album = album;
    this.changed = changed;
    this.list = el("ul", { class: "pictures", "aria-label": "Attached pictures", hidden: true });
    this.told = el("p", { class: "told", role: "status" });
    this.node = el("div", { class: "attachments", hidden: true }, this.list, this.told);
    this.chooser = el("input", { type: "file", accept: ACCEPTED, multiple: true, hidden: true });
    this.chooser.addEventListener("change", () => this.#choose());
    this.button = iconButton("picture", add, () => this.chooser.click());
  }

  get pictures() {
    return this.#pictures;
  }

  /** True while one of them is still being read. */
  get isReading() {
    return this.#reading.includes(this.#pictures);
  }

  /** Show these, and no others; what comes and goes does so in this array. */
  set(pictures) {
    if (pictures !== this.#pictures) this.#tell("");
    this.#pictures = pictures;
    this.#show();
  }

  /** Take what is pasted into `field`, and what is dropped on `area`. */
  listen(field, area) {
    field.addEventListener("paste", (event) => this.#paste(event));
    area.addEventListener("dragover", (event) => this.#drag(event, area));
    area.addEventListener("dragleave", (event) => area.contains(event.relatedTarget) || area.classList.remove("dropping"));
    area.addEventListener("drop", (event) => this.#drop(event, area));
  }

  async add(files) {
    const into = this.#pictures;
    this.#tell("");
    this.#reading.push(into);
    this.changed();
    try {
      for (const file of files) await this.#read(file, into);
    } finally {
      this.#reading.splice(this.#reading.indexOf(into), 1);
      this.changed();
    }
  }

  async #read(file, into) {
    try {
      if (into.length >= MOST) throw new PictureError(TOO_MANY);
      into.push(this.album.add(await readPicture(file), nameAmong(into, file.name)));
    } catch (error) {
      if (!(error instanceof PictureError)) throw error;
      this.#tell(error.message);
    }
    // They belong to the chat that was open when they were chosen.
    if (into === this.#pictures) this.#show();
  }

  #tell(words) {
    this.told.textContent = words;
    this.#hide();
  }

  #hide() {
    this.list.hidden = !this.#pictures.length;
    this.node.hidden = this.list.hidden && !this.told.textContent;
  }

  #show() {
    this.#hide();
    this.list.replaceChildren(...this.#pictures.map((picture) => this.#item(picture)));
  }

  #item(picture) {
    const remove = iconButton("close", `Remove ${picture.name}`, () => this.#remove(picture));
    return el("li", {}, pictureOf(this.album, picture), remove);
  }

  #remove(picture) {
    this.#pictures.splice(this.#pictures.indexOf(picture), 1);
    this.#tell("");
    this.#show();
    this.button.focus();
    this.changed();
  }

  #choose() {
    const files = [...this.chooser.files];
    // The same file may be chosen again.
    this.chooser.value = "";
    this.button.focus();
    return this.add(files);
  }

  #paste(event) {
    const { files, types } = event.clipboardData;
    // Who copies from a table or a document means its words; a picture of them comes along.
    if (!files.length || types.includes("text/plain")) return;
    event.preventDefault();
    this.add([...files]);
  }

  #drag(event, area) {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    area.classList.add("dropping");
  }

  #drop(event, area) {
    area.classList.remove("dropping");
    if (!event.dataTransfer.files.length) return;
    // Else the browser would leave the page, and show the file instead.
    event.preventDefault();
    event.stopPropagation();
    this.add([...event.dataTransfer.files]);
  }
}

/** A name that none of these pictures has: what is pasted is often called the same. */
function nameAmong(pictures, name) {
  const isTaken = (other) => pictures.some((picture) => picture.name === other);
  let count = 1;
  while (isTaken(count > 1 ? `${name} (${count})` : name)) count += 1;
  return count > 1 ? `${name} (${count})` : name;
}
