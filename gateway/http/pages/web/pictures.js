// Pictures that a person shows: read from files, told by their bytes, and scaled down where they are large.

// The kinds that Letta's models take, by how their bytes begin.
const KINDS = {
  "image/png": /^\x89PNG\r\n\x1a\n/,
  "image/jpeg": /^\xff\xd8\xff/,
  "image/gif": /^GIF8[79]a/,
  "image/webp": /^RIFF.{4}WEBPVP/s,
};
const MEBI = 1024 * 1024;
const LARGEST_FILE = 50 * MEBI;
// As an App Server scales pictures: more is not seen by anybody.
const SIDE = 2000;
// Every request of a chat brings its pictures along.
const LARGE = 2 * MEBI;
const QUALITY = 0.85;

/** The kinds of files to choose from. */
export const ACCEPTED = Object.keys(KINDS).join(",");

/** Why a file cannot be shown, in words for a person. */
export class PictureError extends Error {}

/** The picture of a file as it is sent: `{blob, width, height}`. Throws PictureError. */
export async function readPicture(file) {
  if (file.size > LARGEST_FILE) throw new PictureError(`“${file.name}” is larger than ${LARGEST_FILE / MEBI} MB.`);
  const kind = await kindOf(file);
  if (!kind) throw new PictureError(`“${file.name}” is no picture that can be sent: it must be PNG, JPEG, GIF or WebP.`);
  const bitmap = await decoded(file);
  try {
    const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
    const fits = scale === 1 && file.size <= LARGE;
    // A slice is a copy of its own, with the kind that it is.
    const blob = fits ? file.slice(0, file.size, kind) : await drawn(bitmap, { width, height, kind });
    return { blob, width, height };
  } finally {
    bitmap.close();
  }
}

async function kindOf(file) {
  const bytes = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  const begin = String.fromCharCode(...bytes);
  return Object.keys(KINDS).find((kind) => KINDS[kind].test(begin));
}

async function decoded(file) {
  try {
    return await createImageBitmap(file);
  } catch (error) {
    throw new PictureError(`“${file.name}” cannot be read: it may be damaged.`, { cause: error });
  }
}

/** Drawn anew: photographs as JPEG, others as PNG while that is not large. */
async function drawn(bitmap, { width, height, kind }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  if (kind !== "image/jpeg") {
    const blob = await canvas.convertToBlob({ type: "image/png" });
    if (blob.size <= LARGE) return blob;
  }
  // What can be seen through is white as paper, and not black.
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
}

/** A picture as an address that holds it whole. */
export function addressOf(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
