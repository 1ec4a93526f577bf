"""LangChain's standard tests of chat models, of its client for OpenAI in front of the gateway at `GATEWAY_URL`.

Runs in the environment of the client libraries: nothing of the gateway is importable here. What is not here is not
tested, and `test_langchain.py` knows why.
https://docs.langchain.com/oss/python/contributing/standard-tests-langchain
"""

import base64
import os
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

DETAILS = ["reasoning_output", "cache_read_input"]


@pytest.fixture(autouse=True)
def web(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests would show from the web is a picture that was given to this run."""
    picture = base64.b64decode(os.environ["PICTURE"])
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, content=picture))


class TestGateway(ChatModelIntegrationTests):
    chat_model_class = ChatOpenAI
    chat_model_params = {
        "model": "letta",
        "base_url": f"{os.environ['GATEWAY_URL']}/v1",
        "api_key": os.environ["GATEWAY_KEY"],
        "model_kwargs": {"user": "ada"},
        "max_retries": 0,
        # By itself it asks for usage at OpenAI's own address only.
        "stream_usage": True,
    }
    structured_output_kwargs = {"method": os.environ["STRUCTURED_OUTPUT"]}
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_anthropic_inputs = True
    model_override_value = "pirate"
    supported_usage_metadata_details = {"invoke": DETAILS, "stream": DETAILS}

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._hello(stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._hello(stream)

    def _hello(self, stream: bool) -> AIMessage:
        model: Any = self.chat_model_class(**self.chat_model_params)
        if not stream:
            return model.invoke("Hello")
        first, *more = model.stream("Hello")
        return sum(more, first)
