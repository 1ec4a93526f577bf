"""The addresses that the gateway does not serve, and how to have a client call those that it serves."""

import re

SERVED = "The gateway serves /v1/chat/completions, /v1/responses, /v1/conversations and /v1/models."
NOTHING = "There is nothing at this address."
BASE_URL = "The base URL ends with /v1"
CHAT_COMPLETIONS = "have the client use chat completions"
RESPONSES = "have the client use responses, or chat completions"
OLLAMA = "Ollama's API is not served here: connect the gateway as an OpenAI API, with /v1 behind its address."
ANTHROPIC = f"Anthropic's API is not served here: {CHAT_COMPLETIONS} of an OpenAI API."
# Beginning of another address of OpenAI's → why it is not served, and the client's switch to chat completions.
# https://developers.openai.com/api/reference
_OTHERS = {
    "/responses/compact": "Nothing is compacted here: an agent sees to the length of its chats itself.",
    "/responses/input_tokens": "Tokens are not counted here: the model is the agent's.",
    "/completions": (
        "Completions of a bare prompt are not served here. Have the client use chat completions: `ChatOpenAI` in place "
        "of `OpenAI` in LangChain, `.chat(MODEL)` in the AI SDK, `openai/MODEL` in litellm, "
        "`client.chat.completions.create` in OpenAI's SDKs."
    ),
    "/embeddings": "Agents make no embeddings: point the client's embeddings at a model that does.",
    "/assistants": f"The Assistants API is not served here: {RESPONSES}.",
    "/threads": f"The Assistants API is not served here: {RESPONSES}.",
    "/audio": "Agents neither speak nor listen: point the client's speech at a model that does.",
    "/realtime": f"The Realtime API is not served here: {CHAT_COMPLETIONS}.",
    "/images": "Agents paint no pictures: point the client's image generation at a model that does.",
    "/moderations": "Nothing is moderated here: point the client's moderation at a model that does.",
    "/files": "Files are not kept here: send pictures within messages, as data URLs.",
    "/batches": "Batches are not served here: send each request to /v1/chat/completions.",
}
_INSTEAD = {
    **{f"/v1{begin}": words for begin, words in _OTHERS.items()},
    # What Anthropic's SDKs call, and Ollama's; some frontends ask for the latter at every address.
    "/v1/messages": ANTHROPIC,
    "/messages": ANTHROPIC,
    "/api/tags": OLLAMA,
    "/api/version": OLLAMA,
    "/api/ps": OLLAMA,
    "/api/show": OLLAMA,
    "/api/generate": OLLAMA,
    "/api/embed": OLLAMA,
    # The addresses that clients call with a base URL that lacks its end, or has too much of it.
    **dict.fromkeys(("/chat/completions", "/responses", "/models", "/conversations", *_OTHERS), f"{BASE_URL}."),
    "/v1/v1": f"{BASE_URL}: once.",
    "/v1/chat": f"{BASE_URL}: what follows is added by the client.",
}
# What the addresses end with that any client of OpenAI's API calls, whatever its base URL is.
_CALLED = re.compile(r"/(?:chat/completions|models|responses|completions|embeddings)\Z")
_SLASHES = re.compile("//+")
# Addresses of OpenAI's at which the route of a response's id is.
_NO_IDS = frozenset({"/v1/responses/compact", "/v1/responses/input_tokens"})
_BASE = {
    "": f"{BASE_URL}, which is missing here.",
    "/v1": "This is the base URL itself: the client adds /chat/completions or /responses to it.",
}
_SERVED = {
    "/v1/chat/completions": "POST",
    "/v1/responses": "POST",
    "/v1/conversations": "POST",
    "/v1/models": "GET",
    "/v1/usage": "GET",
}


def is_taken_for_an_id(path: str) -> bool:
    """True for an address at which there is nothing, though that of anything with an id looks the same."""
    return plain(path) in _NO_IDS


def explain(path: str) -> str:
    """The words about a path, or a method of it, that is not served; empty if nobody knows what was meant by it.

    The path may hold anything, and is not repeated.
    """
    path = plain(path)
    if path in _BASE:
        return _BASE[path]
    if takes := _SERVED.get(path):
        return f"It takes {takes} requests."
    meant = plain("".join(path.split())).lower()
    if meant in _SERVED:
        return f"{BASE_URL}, in small letters and without a space."
    if words := next((words for begin, words in _INSTEAD.items() if f"{path}/".startswith(f"{begin}/")), ""):
        return words
    return f"{BASE_URL}, right behind the gateway's address." if _CALLED.search(meant) else ""


# The words of addresses: those of the gateway's, of OpenAI's and of others that clients call.
_WORDS = frozenset(
    {
        *(word for path in (*_INSTEAD, *_SERVED) for word in path.split("/")),
        *("healthz", "readyz", "connect", "web", "health", "metrics", "chats", "docs", "favicon.ico", "robots.txt"),
        *("v1beta", "openai", "deployments", "engines", "generations", "edits", "speech", "transcriptions"),
        *("count_tokens", "runs", "messages", "embed", "pull", "user", "me", "items"),
    }
)
_MOST_WORDS = 10


def shown_path(path: str) -> str:
    """A path for the log: with `…` for any word that is not one of an API's, as it may be a person's, or a key.

    `/openai/deployments/…/chat/completions`; the query is no part of it.
    """
    words = path.split("/", _MOST_WORDS)
    return "/".join(word if word in _WORDS else "…" for word in words)


def plain(path: str) -> str:
    """A path as the routes see it: without slashes at its end, and with single ones."""
    return _SLASHES.sub("/", path).rstrip("/")
