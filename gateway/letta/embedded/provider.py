"""The question to a model's provider whether it is there, and takes its key, as the App Server will ask it."""

from http import HTTPStatus

import httpx
from msgspec import Struct

from gateway.settings import Provider, ProviderId, Secret

ANSWER_SECONDS = 10.0


class NoAnswer(Exception):
    """Nothing that speaks HTTP is at an address; the text is the kind of failure."""


async def status_of(url: str, headers: dict[str, str] | None = None, proxied: bool = True) -> int:
    """The HTTP status with which this address answers a GET. Raises NoAnswer.

    `proxied`: by the proxy that the environment names.
    """
    try:
        async with (
            httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=proxied) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            return response.status_code
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as error:
        raise NoAnswer(type(error).__name__) from error


class _Way(Struct, frozen=True):
    """How a provider is asked about itself."""

    base_url: str = ""
    """Its address, unless another is configured."""
    path: str = "/models"
    key_header: str = "authorization"
    more: dict[str, str] = {}


_WAYS: dict[ProviderId, _Way] = {
    "openai-compatible": _Way(),
    # https://platform.openai.com/docs/api-reference/models/list
    "openai": _Way("https://api.openai.com/v1"),
    # https://docs.anthropic.com/en/api/models-list
    "anthropic": _Way("https://api.anthropic.com/v1", key_header="x-api-key", more={"anthropic-version": "2023-06-01"}),
    # https://openrouter.ai/docs/api-reference/api-keys/get-current-key: its list of models asks for no key.
    "openrouter": _Way("https://openrouter.ai/api/v1", path="/key"),
    # https://github.com/ollama/ollama/blob/main/docs/openai.md
    "ollama": _Way("http://127.0.0.1:11434/v1"),
}


class Found(Struct, frozen=True):
    """The answer of a provider: `Found("https://api.openai.com/v1", "it refuses the key (HTTP 401)")`."""

    address: str
    problem: str = ""
    """The problem, as a part of a sentence; empty if there is none."""


async def ask(provider: Provider) -> Found:
    """Ask a provider whether it is there, and takes its key."""
    way = _WAYS[provider.id]
    return await _ask(provider.base_url or way.base_url, way, provider.api_key)


async def ask_compatible(base_url: str, key: Secret | None) -> Found:
    """The same of any endpoint that speaks OpenAI's API."""
    return await _ask(base_url, _Way(), key)


async def _ask(base_url: str, way: _Way, key: Secret | None) -> Found:
    address = base_url.rstrip("/")
    headers = dict(way.more)
    if key:
        headers[way.key_header] = f"Bearer {key.reveal()}" if way.key_header == "authorization" else key.reveal()
    try:
        status = await status_of(f"{address}{way.path}", headers)
    except NoAnswer as error:
        return Found(address, f"nothing answers there ({error})")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Found(address, f"it {'refuses the key' if key else 'asks for a key'} (HTTP {status})")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Found(address, f"it fails (HTTP {status})")
    return Found(address)
