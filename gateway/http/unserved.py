"""The addresses of OpenAI's API that the gateway does not serve, and how to have a client call those that it serves."""

SERVED = "The gateway serves /v1/chat/completions and /v1/models."
# Beginning of another address of OpenAI's → why it is not served, and the client's switch to chat completions.
# https://developers.openai.com/api/reference
_INSTEAD = {
    "/v1/responses": (
        "The Responses API is not served here. Have the client use chat completions: `.chat(MODEL)` in the AI SDK, "
        "`openai-chat:MODEL` in pydantic-ai, `set_default_openai_api('chat_completions')` in openai-agents, "
        "`use_responses_api=False` in LangChain, `client.chat.completions.create` in OpenAI's SDKs."
    ),
    "/v1/completions": (
        "Completions of a bare prompt are not served here. Have the client use chat completions: `ChatOpenAI` in place "
        "of `OpenAI` in LangChain, `.chat(MODEL)` in the AI SDK, `openai/MODEL` in litellm, "
        "`client.chat.completions.create` in OpenAI's SDKs."
    ),
    "/v1/embeddings": "Agents make no embeddings: point the client's embeddings at a model that does.",
    "/v1/assistants": "The Assistants API is not served here: have the client use chat completions.",
    "/v1/threads": "The Assistants API is not served here: have the client use chat completions.",
    "/v1/conversations": "The Conversations API is not served here: have the client use chat completions.",
    "/v1/audio": "Agents neither speak nor listen: point the client's speech at a model that does.",
    "/v1/realtime": "The Realtime API is not served here: have the client use chat completions.",
    "/v1/images": "Agents paint no pictures: point the client's image generation at a model that does.",
    "/v1/moderations": "Nothing is moderated here: point the client's moderation at a model that does.",
    "/v1/files": "Files are not kept here: send pictures within messages, as data URLs.",
    "/v1/batches": "Batches are not served here: send each request to /v1/chat/completions.",
    # The addresses that clients call with a base URL that lacks its end, or has too much of it.
    "/chat/completions": "The base URL ends with /v1.",
    "/models": "The base URL ends with /v1.",
    "/responses": "The base URL ends with /v1.",
    "/v1/v1": "The base URL ends with /v1: once.",
    "/v1/chat/completions": "The base URL ends with /v1: what follows is added by the client.",
}


def explain(path: str) -> str:
    """The words for a client about a path that is not served; the path may hold anything, and is not repeated."""
    path = path.rstrip("/")
    instead = next((words for begin, words in _INSTEAD.items() if path == begin or path.startswith(f"{begin}/")), "")
    return f"{instead or 'There is nothing at this address.'} {SERVED}"
