// What OpenAI's SDK for Node.js and the AI SDK do with the Responses API; prints a line of JSON for each.
import { createOpenAI } from "@ai-sdk/openai";
import { generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";

// It warns that thoughts are not told again where nothing is kept.
globalThis.AI_SDK_LOG_WARNINGS = false;
const baseURL = `${process.env.GATEWAY_URL}/v1`;
const apiKey = process.env.GATEWAY_KEY;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const who = { model: "letta", user: "ada" };
const asks = "How is the weather in Oslo?";
const formed = '!say {"city": "Oslo"}';
const place = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const weather = tool({ inputSchema: jsonSchema(place), execute: ({ city }) => `sunny in ${city}` });
const asked = (options = {}) => ({
  model: createOpenAI({ baseURL, apiKey })("letta"),
  providerOptions: { openai: { user: "ada", ...options } },
  maxRetries: 0,
});
const withTools = (options) => ({ ...asked(options), tools: { weather }, stopWhen: stepCountIs(3) });

const scenarios = {
  async openai_goes_on() {
    const first = await client.responses.create({ ...who, input: "My name is Ada." });
    const named = { ...who, input: "What is my name?", previous_response_id: first.id };
    return [first.output_text, (await client.responses.create(named)).output_text];
  },
  async openai_streams() {
    const stream = client.responses.stream({ ...who, input: "Hello!" });
    let text = "";
    for await (const event of stream) if (event.type === "response.output_text.delta") text += event.delta;
    return [text, (await stream.finalResponse()).output_text];
  },
  async openai_parses() {
    const text = { format: { type: "json_schema", name: "place", strict: true, schema: place } };
    return (await client.responses.parse({ ...who, input: formed, text })).output_parsed.city;
  },
  async openai_comes_back() {
    const { id } = await client.responses.create({ ...who, input: "Hello!", background: true });
    let last;
    for await (const event of await client.responses.retrieve(id, { stream: true })) last = event.type;
    const shown = await client.responses.retrieve(id);
    await client.responses.delete(id);
    const gone = await client.responses.retrieve(id).catch((error) => error.code);
    return [last, shown.status, shown.output_text, gone];
  },
  async openai_cancels() {
    const input = `!slow 100\n!say ${"word ".repeat(100)}`;
    const { id } = await client.responses.create({ ...who, input, background: true });
    return (await client.responses.cancel(id)).status;
  },
  async ai_generates() {
    const { text, reasoningText, warnings } = await generateText({ ...asked(), prompt: "Hello!" });
    return [text, reasoningText, warnings];
  },
  async ai_streams() {
    const { fullStream } = streamText({ ...asked(), prompt: "Hello!" });
    let text = "";
    for await (const part of fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") text += part.text;
    }
    return text;
  },
  async ai_goes_on() {
    const first = await generateText({ ...asked(), prompt: "My name is Ada." });
    const { responseId } = first.providerMetadata.openai;
    return (await generateText({ ...asked({ previousResponseId: responseId }), prompt: "What is my name?" })).text;
  },
  // Its answers are told again by references to their items.
  async ai_calls() {
    const first = await generateText({ ...withTools(), prompt: asks });
    const messages = [{ role: "user", content: asks }, ...first.response.messages, { role: "user", content: "Thanks!" }];
    const told = await generateText({ ...withTools(), messages });
    const kinds = told.request.body.input.map((item) => item.type ?? item.role);
    return [first.text, told.text, kinds.includes("item_reference")];
  },
  async ai_calls_unkept() {
    const first = await generateText({ ...withTools({ store: false }), prompt: asks });
    const messages = [{ role: "user", content: asks }, ...first.response.messages, { role: "user", content: "Thanks!" }];
    return [first.text, (await generateText({ ...withTools({ store: false }), messages })).text];
  },
  async ai_forms() {
    return (await generateObject({ ...asked(), schema: jsonSchema(place), prompt: formed })).object.city;
  },
};
for (const [name, run] of Object.entries(scenarios)) console.log(JSON.stringify({ [name]: await run() }));
