// A mod of the App Server, put into its state directory by the gateway (gateway/letta/models.py), which fills in the
// two constants.
//
// The App Server's own provider `openai-compatible` takes every model for one that sees nothing, and leaves out the
// pictures that it is to be shown. This one has its name, so that the handles of its models are the same, and goes by
// what the operator says of them, or else by what the endpoint says.
const SEES = __SEES__; // true or false for all models; null: as the endpoint says
const MARK = __MARK__; // ends the name of a model that sees, which is all that a listing tells of it

// https://openrouter.ai/docs/api/api-reference/models/get-models (and llama.cpp), https://docs.mistral.ai/api,
// https://lmstudio.ai/docs/developer/rest/endpoints, https://docs.github.com/rest/models/catalog
function sees(model) {
  const takes = [
    model.architecture?.input_modalities,
    model.input_modalities,
    model.supported_input_modalities,
    model.modalities?.input ?? model.modalities,
    model.capabilities,
  ];
  return (
    takes.some((list) => Array.isArray(list) && (list.includes("image") || list.includes("vision"))) ||
    [model.capabilities?.vision, model.supports_vision, model.supports_image_input].includes(true) ||
    model.type === "vlm"
  );
}

// But for its name and its input, what the App Server itself makes of such a model.
function toModel(model) {
  const shown = SEES ?? sees(model);
  return {
    id: model.id,
    name: shown ? model.id + MARK : model.id,
    reasoning: false,
    input: shown ? ["text", "image"] : ["text"],
    cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
    contextWindow: 128000,
    maxTokens: 32000,
    compat: { supportsDeveloperRole: false, supportsReasoningEffort: false },
  };
}

async function listModels({ baseUrl, apiKey }) {
  const base = baseUrl.replace(/\/+$/, "");
  const response = await fetch(`${base.endsWith("/v1") ? base : `${base}/v1`}/models`, {
    headers: { Accept: "application/json", ...(apiKey && { Authorization: `Bearer ${apiKey}` }) },
    signal: AbortSignal.timeout(2000),
  });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const { data } = await response.json();
  return Array.isArray(data) ? data.filter((model) => typeof model?.id === "string").map(toModel) : [];
}

export default function activate(letta) {
  return letta.providers.register("openai-compatible", {
    name: "OpenAI-compatible API",
    api: "openai-completions",
    listModels,
  });
}
