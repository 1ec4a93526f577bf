"""The mod that knows which models of a compatible endpoint see, run by the App Server's own Node.js."""

import json
import subprocess
from pathlib import Path
from typing import Any

import letta_code  # type: ignore[import-untyped]
import pytest

from gateway.letta.app_server.frames import SEES_MARK
from gateway.letta.embedded.models import models_mod

NODE = Path(letta_code.__file__).parent / "_payload" / "bin" / "node"
# Lists the models of an endpoint that answers with the second argument, and tells what it was asked.
LISTING = """
const asked = [];
globalThis.fetch = async (url, { headers }) => {
  asked.push([url, headers.Authorization ?? null]);
  return { ok: true, json: async () => JSON.parse(process.argv[2]) };
};
const { default: activate } = await import(process.argv[1]);
const registered = {};
activate({ providers: { register: (name, provider) => (registered[name] = provider) } });
const [[name, provider]] = Object.entries(registered);
const models = await provider.listModels(JSON.parse(process.argv[3]));
console.log(JSON.stringify({ name, asked, models }));
"""
BASE = {"baseUrl": "http://models.test/v1", "apiKey": "sk-models"}


def listed(folder: Path, models: Any, sees: bool | None = None, connection: dict[str, str] = BASE) -> dict[str, Any]:
    mod = folder / "models.mjs"
    mod.write_bytes(models_mod(sees))
    arguments = [str(NODE), "--input-type=module", "-e", LISTING, str(mod), json.dumps(models), json.dumps(connection)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def sights(told: dict[str, Any]) -> dict[str, bool]:
    """Which models see: what they are shown and how they are marked is one."""
    seeing = {model["id"]: model["input"] == ["text", "image"] for model in told["models"]}
    assert seeing == {model["id"]: model["name"] == model["id"] + SEES_MARK for model in told["models"]}
    return seeing


# What an endpoint says of a model -> whether it sees
WORDS: dict[str, tuple[dict[str, Any], bool]] = {
    "nothing": ({}, False),
    "OpenRouter's and llama.cpp's words": ({"architecture": {"input_modalities": ["text", "image"]}}, True),
    "OpenRouter's of another": ({"architecture": {"input_modalities": ["text", "file"]}}, False),
    "what comes out of a model": ({"architecture": {"output_modalities": ["image"]}}, False),
    "xAI's": ({"input_modalities": ["text", "image"]}, True),
    "GitHub's": ({"supported_input_modalities": ["text", "image", "audio"]}, True),
    "models.dev's": ({"modalities": {"input": ["text", "image"], "output": ["text"]}}, True),
    "a list of modalities": ({"modalities": ["text", "image"]}, True),
    "Mistral's": ({"capabilities": {"vision": True, "function_calling": True}}, True),
    "Mistral's of another": ({"capabilities": {"vision": False}}, False),
    "a list of capabilities": ({"capabilities": ["completion", "vision"]}, True),
    "Fireworks'": ({"supports_image_input": True}, True),
    "LM Studio's": ({"type": "vlm"}, True),
    "LM Studio's of another": ({"type": "llm"}, False),
    "what is of another type": ({"architecture": "image", "capabilities": "vision", "modalities": 3}, False),
}


def test_a_model_sees_as_its_endpoint_says(tmp_path: Path) -> None:
    said = [{"id": name, **words} for name, (words, _) in WORDS.items()]

    assert sights(listed(tmp_path, {"data": said})) == {name: sees for name, (_, sees) in WORDS.items()}


@pytest.mark.parametrize("sees", [True, False])
def test_what_the_operator_says_goes_before_what_the_endpoint_says(tmp_path: Path, sees: bool) -> None:
    said = [{"id": name, **words} for name, (words, _) in WORDS.items()]

    assert sights(listed(tmp_path, {"data": said}, sees)) == dict.fromkeys(WORDS, sees)


@pytest.mark.parametrize("address", ["http://models.test", "http://models.test/", "http://models.test/v1/"])
def test_models_keep_their_handles_and_are_asked_for_where_the_app_server_would(tmp_path: Path, address: str) -> None:
    told = listed(tmp_path, {"data": [{"id": "maker/one"}]}, connection={**BASE, "baseUrl": address})

    assert told["name"] == "openai-compatible"
    assert [model["id"] for model in told["models"]] == ["maker/one"]
    assert told["asked"] == [["http://models.test/v1/models", "Bearer sk-models"]]


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": [None, {"id": 3}, {}]}, []])
def test_what_is_no_list_of_models_holds_none(tmp_path: Path, answer: Any) -> None:
    assert listed(tmp_path, answer)["models"] == []
