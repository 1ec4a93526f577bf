"""The mod by which an App Server learns which models are shown pictures, and tells it in their names."""

from pathlib import Path

import msgspec

from gateway.letta.app_server.frames import SEES_MARK

MOD = Path(__file__).with_name("models.js")


def models_mod(sees: bool | None) -> bytes:
    """The mod; `sees` says of all models whether they see, None leaves it to what their endpoint says of each."""
    text = MOD.read_text(encoding="utf-8")
    for name, value in (("__SEES__", sees), ("__MARK__", SEES_MARK)):
        text = text.replace(name, msgspec.json.encode(value).decode())
    return text.encode()
