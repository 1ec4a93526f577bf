"""Which models of an App Server are shown pictures: what the gateway's mod for its models tells, and is told."""

from pathlib import Path

import msgspec

MOD = Path(__file__).with_name("models.js")
# The App Server itself knows these models by their ids alone, and shows pictures to none of them.
BLIND_PREFIX = "openai-compatible/"
# What the mod ends the name of a model with that is shown pictures.
SEES_MARK = " (sees pictures)"


def models_mod(sees: bool | None) -> bytes:
    """The mod; `sees` says of all models whether they see, None leaves it to what their endpoint says of each."""
    text = MOD.read_text(encoding="utf-8")
    for name, value in (("__SEES__", sees), ("__MARK__", SEES_MARK)):
        text = text.replace(name, msgspec.json.encode(value).decode())
    return text.encode()
