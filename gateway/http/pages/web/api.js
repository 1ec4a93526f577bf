// The gateway's public API, as any client uses it: models, and responses as server-sent events.

/** What went wrong, in words for a person: the gateway's own where it had some. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = null, param = null, lost = false } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = param;
    /** True: what was asked for may go on, and only the way to it was lost. */
    this.lost = lost;
  }
}

const UNREACHABLE = "The gateway cannot be reached.";
const LOST = "The connection was lost before the answer's end.";
const ENDS = new Set(["response.completed", "response.incomplete"]);

export class Api {
  /** `key` is empty where none is known. */
  constructor(key = "") {
    this.key = key;
  }

  /** The models that are offered to people. */
  async models() {
    const response = await this.#fetch("v1/models", {});
    const { data } = await response.json();
    return data.filter(({ info }) => !info?.meta?.hidden);
  }

  /** The events of a response that is begun, as they come. Throws ApiError, or whatever `signal` was aborted with. */
  respond({ body, headers, signal }) {
    return this.#events("v1/responses", {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ ...body, stream: true }),
      signal,
    });
  }

  /** The events of a response behind the one with the number `after`, in the same way. */
  follow({ id, after, signal }) {
    return this.#events(`v1/responses/${id}?stream=true&starting_after=${after}`, { signal });
  }

  /** A response as it stands. */
  async response(id, signal) {
    return (await this.#fetch(`v1/responses/${id}`, { signal })).json();
  }

  /** End a response that is under way, also where the page ends. */
  async cancel(id) {
    await this.#fetch(`v1/responses/${id}/cancel`, { method: "POST", keepalive: true });
  }

  async *#events(path, options) {
    const response = await this.#fetch(path, options);
    for await (const data of events(response.body, options.signal)) {
      const event = JSON.parse(data);
      if (event.type === "error") throw new ApiError(event.message, event);
      if (event.type === "response.failed") throw failure(event.response);
      yield event;
      if (ENDS.has(event.type)) return;
    }
    throw new ApiError(LOST, { lost: true });
  }

  async #fetch(path, options) {
    const headers = { ...options.headers, ...(this.key && { authorization: `Bearer ${this.key}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: "no-store" });
    } catch (error) {
      throw options.signal?.aborted ? error : new ApiError(UNREACHABLE, { lost: true });
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

/** What a response failed with. */
export const failure = ({ error }) => new ApiError(error?.message ?? "", { code: error?.code });

async function refusal(response) {
  const { status } = response;
  try {
    const { error } = await response.json();
    return new ApiError(error.message, { status, code: error.code, param: error.param });
  } catch {
    // Whoever answered was not the gateway.
    return new ApiError(`The gateway's place answered with HTTP ${status}.`, { status });
  }
}

/** The data of each event. https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation */
async function* events(stream, signal) {
  let data = [];
  for await (const line of lines(stream, signal)) {
    if (line === "" && data.length) {
      yield data.join("\n");
      data = [];
    } else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
}

async function* lines(stream, signal) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let [line, held] = [[], ""];
  try {
    for (let read; !(read = await next(reader, signal)).done; ) {
      // A line feed may follow a carriage return in the next piece.
      const piece = held + read.value;
      held = piece.endsWith("\r") ? "\r" : "";
      const [first, ...more] = piece.slice(0, piece.length - held.length).split(/\r\n|\n|\r/);
      line.push(first);
      if (!more.length) continue;
      yield line.join("");
      line = [more.pop()];
      yield* more;
    }
  } finally {
    reader.cancel().catch(() => {}); // it has failed already, and was told
  }
}

async function next(reader, signal) {
  try {
    return await reader.read();
  } catch (error) {
    throw signal?.aborted ? error : new ApiError(LOST, { lost: true });
  }
}
