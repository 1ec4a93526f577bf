// Prints a librechat.yaml as it stands there, and as LibreChat reads it: what it does not know it leaves out.
import { readFileSync } from "node:fs";
import { load } from "js-yaml";
import { configSchema } from "librechat-data-provider";

const written = load(readFileSync(process.argv[2], "utf8"));
console.log(JSON.stringify({ written, read: configSchema.strict().parse(written) }));
