"""A failing provider's words, as Letta passes them on: what is told of them, and what never is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import errors
from gateway.letta.error_words import from_error_message, from_loop_error, from_provider
from gateway.letta.provider_words import KINDS, read_provider
from gateway.wires.envelope import UpstreamFailure

SECRET = "my secret prompt, sk-proj-abcd****WXYZ, of ada@example.org"
QUOTA = {"message": SECRET, "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}
KEY = {"message": SECRET, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
MODEL = {"message": SECRET, "type": "invalid_request_error", "param": None, "code": "model_not_found"}
POLICY = {"message": SECRET, "type": "invalid_request_error", "param": "messages[1].content", "code": "content_policy"}
OVERLOADED = {"type": "overloaded_error", "message": SECRET}


def of_app_server(status: int, body: Any) -> str:
    """What an App Server says of a provider with OpenAI's envelope."""
    return f"{status}: {json.dumps(body)}"


def of_sdk(status: int, body: Any) -> str:
    """What a V1 server says of any provider, after its own words: Python's way to write what came."""
    return f"INTERNAL_SERVER_ERROR: OpenAI API error: Error code: {status} - {body!r}"


# what Letta passes on -> what is told of it
TOLD: dict[str, tuple[str, str]] = {
    "a quota": (of_app_server(429, QUOTA), "status 429, `insufficient_quota`"),
    "a key": (of_app_server(401, KEY), "status 401, `invalid_api_key`"),
    "a model": (of_app_server(404, MODEL), "status 404, `model_not_found`"),
    "a policy": (of_app_server(400, POLICY), "status 400, `content_policy`, `messages[1].content`"),
    "no code": (
        of_app_server(500, {"message": SECRET, "type": "server_error", "code": None}),
        "status 500, `server_error`",
    ),
    "an envelope": (f"422 {json.dumps({'error': POLICY})}", "status 422, `content_policy`, `messages[1].content`"),
    "Anthropic's": (f"529 {json.dumps({'type': 'error', 'error': OVERLOADED})}", "status 529, `overloaded_error`"),
    "Google's": (
        f"400 {json.dumps({'error': {'code': 400, 'message': SECRET, 'status': 'INVALID_ARGUMENT'}})}",
        "status 400, `INVALID_ARGUMENT`",
    ),
    "a number": (f"429 {json.dumps({'error': {'code': '1113', 'message': SECRET}})}", "status 429, `1113`"),
    "Ollama's": (f"404 {json.dumps(SECRET)}", "status 404"),
    "a list": (f"422 {json.dumps({'detail': [{'input': SECRET}]})}", "status 422"),
    "a page": (f"502 <html>{SECRET}</html>", "status 502"),
    "a code that is a sentence": (of_app_server(400, {"code": SECRET, "type": SECRET}), "status 400"),
    "a code that is a key": (of_app_server(400, {"code": "sk-proj-abcd"}), "status 400"),
    "a code that is long": (of_app_server(400, {"code": "secret" * 10}), "status 400"),
    "a code that is a list": (of_app_server(400, {"code": [SECRET]}), "status 400"),
    "a parameter that is a sentence": (of_app_server(400, {"code": "bad", "param": SECRET}), "status 400, `bad`"),
    "broken JSON": ('429: {"message": "my secret prompt', "status 429"),
    "no connection": ("Connection error.", "no connection"),
    "no connection of Node's": (f"TypeError: fetch failed {SECRET}", "no connection"),
    "an SDK's connection": ("INTERNAL_SERVER_ERROR: Failed to connect to OpenAI: Connection error.", "no connection"),
    "words": (SECRET, ""),
    "nothing": ("", ""),
    "an SDK's quota": (of_sdk(429, {"error": QUOTA}), "status 429, `insufficient_quota`"),
    "an SDK's policy": (of_sdk(400, {"error": POLICY}), "status 400, `content_policy`, `messages[1].content`"),
    "an SDK's two fields": (
        of_sdk(500, {"error": {"message": SECRET, "type": "server_error"}}),
        "status 500, `server_error`",
    ),
    "an SDK of Anthropic's": (of_sdk(529, {"type": "error", "error": OVERLOADED}), "status 529, `overloaded_error`"),
    "an SDK's page": (f"X: Error code: 502 - <html>{SECRET}</html>", "status 502"),
    "an SDK's message with a field in it": (
        of_sdk(400, {"error": {"message": "', 'code': 'secret'}}", "type": "bad_request"}}),
        "status 400, `bad_request`",
    ),
    "an SDK's message that ends like a field": (
        of_sdk(400, {"error": {"message": "', 'code': 'secret"}}),
        "status 400",
    ),
    "an SDK's message with both quotes": (of_sdk(400, {"error": {"message": "\"', 'code': 'secret"}}), "status 400"),
    "an SDK's words far behind": (f"{SECRET * 9} Error code: 400 - {{'error': {{'code': 'bad'}}}}", ""),
}


@pytest.mark.parametrize(("text", "told"), TOLD.values(), ids=TOLD)
def test_a_providers_status_and_its_names_are_told_and_no_sentence(text: str, told: str) -> None:
    assert str(read_provider(text)) == told


@pytest.mark.parametrize(("text", "told"), TOLD.values(), ids=TOLD)
def test_a_client_and_the_log_are_told_the_same_by_every_letta(text: str, told: str) -> None:
    ended, retried, streamed = from_loop_error(text), from_provider(text), from_error_message("llm_error", "m", text)
    for error in (ended, retried, streamed):
        if isinstance(error, errors.RunFailed) and type(error) is not errors.RunFailed:
            assert error.said == told
            assert told in str(error)
            assert (f" ({told})." in str(UpstreamFailure(error))) == bool(told)
        assert SECRET not in str(error) + str(UpstreamFailure(error))


@pytest.mark.parametrize("name", KINDS)
def test_a_name_tells_the_kind_whatever_the_status(name: str) -> None:
    text, body = of_app_server(429, {"message": SECRET, "code": name}), {"error": {"message": SECRET, "code": name}}

    assert type(from_loop_error(text)) is type(from_provider(text)) is KINDS[name]
    assert type(from_error_message("llm_error", "m", of_sdk(429, body))) is KINDS[name]


WORDS = st.text(min_size=12, alphabet=st.characters(exclude_categories=["Cs"])).map(lambda text: f"{text} and more")


@given(WORDS, st.sampled_from([of_app_server, of_sdk]))
def test_a_message_is_never_told_whatever_is_in_it(words: str, told_by: Any) -> None:
    for body in ({"message": words, "code": "bad"}, {"code": "bad", "message": words}, {"message": words}):
        envelope = {"error": body} if told_by is of_sdk else body

        assert str(read_provider(told_by(400, envelope))) in ("status 400", "status 400, `bad`")
