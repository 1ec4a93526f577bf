// Loaded into the embedded App Server before its own code (`node --require`), by gateway/letta/embedded/process.py.
//
// It reads the files of all agents as it starts, and does not start if one of them is no JSON. Such a file is left where
// it is, and left out of what the App Server finds in their directory; gateway/letta/state.py tells whose agent it is.
//
// It also has Node.js keep what it has compiled, which is a third of every later start: in NODE_COMPILE_CACHE if that
// is set, with its HOME if not.
// https://nodejs.org/api/module.html#module-compile-cache
const fs = require("node:fs");
const { enableCompileCache, syncBuiltinESMExports } = require("node:module");
const path = require("node:path");

enableCompileCache(path.join(process.env.HOME, "compiled"));
// It is written as the process exits, so not where a signal ends it, as one does before the App Server listens for it.
process.once("SIGTERM", () => process.listenerCount("SIGTERM") || process.exit());

const AGENTS = path.join(process.env.LETTA_LOCAL_BACKEND_DIR, "agents");
const { readdirSync } = fs;

function isJson(name) {
  try {
    JSON.parse(fs.readFileSync(path.join(AGENTS, name), "utf8"));
    return true;
  } catch {
    console.log(`Left out, for it is garbled: ${path.join(AGENTS, name)}`);
    return false;
  }
}

fs.readdirSync = (directory, ...options) => {
  const found = readdirSync(directory, ...options);
  if (directory !== AGENTS || options.length) return found;
  return found.filter((name) => !name.endsWith(".json") || isJson(name));
};
syncBuiltinESMExports();
// What the App Server starts is none of this file's business.
delete process.env.NODE_OPTIONS;
