"""LibreChat: placeholders and encodings of its headers, and the prompts of its background tasks. Performs no I/O.

https://www.librechat.ai/docs/configuration/librechat_yaml/object_structure/custom_endpoint
"""

from base64 import b64decode
from urllib.parse import unquote

from gateway.domain.tasks import TITLE
from gateway.frontends.prompts import Prompt

# https://github.com/danny-avila/LibreChat/pull/11432
ENCODED = "b64:"
_SOURCE = "https://github.com/danny-avila/agents/blob/main/src/utils/title.ts"


def is_placeholder(value: str) -> bool:
    """True for a header in which the placeholder of a field that is not set was left."""
    return "{{" in value and "}}" in value


def decode_header(value: str) -> str:
    """A text that had to be encoded, for a header holds little more than ASCII: in percents, or as LibreChat does."""
    if not value.startswith(ENCODED):
        return unquote(value)
    try:
        return b64decode(value.removeprefix(ENCODED), validate=True).decode()
    except ValueError:
        return value


PROMPTS = (
    Prompt(
        "LibreChat",
        TITLE,
        "Provide a concise, 5-word-or-less title for the conversation, using",
        "title itself",
        _SOURCE,
        in_json=False,
    ),
    Prompt(
        "LibreChat",
        TITLE,
        "Analyze this conversation and provide:\n1. The detected language of the conversation",
        "5 words or less, no punctuation or quotation",
        _SOURCE,
        in_json=False,
    ),
)
