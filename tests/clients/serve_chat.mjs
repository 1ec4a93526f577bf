// Serves the component `Chat` of deploy/clients.md on a page, with its route; prints the address, and ends with its stdin.
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { build } from "esbuild";
import { POST } from "./route.js";

const SHOWN = `
  import { createRoot } from "react-dom/client";
  import { Chat } from "./Chat.jsx";
  createRoot(document.body).render(<Chat />);
`;
const built = await build({
  stdin: { contents: SHOWN, loader: "jsx", resolveDir: "." },
  bundle: true,
  jsx: "automatic",
  format: "esm",
  write: false,
});
const PAGE = '<!doctype html><html lang="en"><title>Chat</title><body><script type="module" src="/chat.js"></script>';
const FILES = { "/": ["text/html", PAGE], "/chat.js": ["text/javascript", built.outputFiles[0].contents] };

const server = createServer(async (request, response) => {
  if (request.url !== "/api/chat") {
    const [type, body] = FILES[request.url] ?? ["text/plain", ""];
    response.writeHead(body ? 200 : 404, { "content-type": type }).end(body);
    return;
  }
  const left = new AbortController();
  response.on("close", () => left.abort());
  const asked = { method: "POST", body: Readable.toWeb(request), duplex: "half", signal: left.signal };
  const answer = await POST(new Request("http://127.0.0.1/api/chat", asked));
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  Readable.fromWeb(answer.body)
    .on("error", () => response.destroy())
    .pipe(response);
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
process.stdin.resume().on("end", () => process.exit());
