// Serves the component `ResumedChat` of deploy/clients.md on a page, with its routes; prints the address, and ends with its stdin.
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { build } from "esbuild";
import { messagesOf, POST, resume, stop } from "./resumed_route.js";

const SHOWN = `
  import { createRoot } from "react-dom/client";
  import { ResumedChat } from "./ResumedChat.jsx";
  const id = location.hash.slice(1);
  const messages = await (await fetch("/api/chat/" + id)).json();
  createRoot(document.body).render(<ResumedChat id={id} messages={messages} />);
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
const ROUTES = { "": messagesOf, "/stream": resume, "/stop": stop };

const server = createServer(async (request, response) => {
  const [, id, what] = /^\/api\/chat(?:\/([^/]+)(\/\w+)?)?$/.exec(request.url) ?? [null, null, null];
  if (!request.url.startsWith("/api/chat")) {
    const [type, body] = FILES[request.url] ?? ["text/plain", ""];
    response.writeHead(body ? 200 : 404, { "content-type": type }).end(body);
    return;
  }
  const asked = { method: "POST", body: Readable.toWeb(request), duplex: "half" };
  const answer = await (id ? ROUTES[what ?? ""](id) : POST(new Request("http://127.0.0.1/api/chat", asked)));
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  if (!answer.body) return response.end();
  Readable.fromWeb(answer.body)
    .on("error", () => response.destroy())
    .pipe(response);
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
process.stdin.resume().on("end", () => process.exit());
