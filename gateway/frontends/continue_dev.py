"""The prompts of Continue's background tasks. Performs no I/O."""

from gateway.domain.tasks import TITLE
from gateway.frontends.prompts import Prompt

_SOURCE = "https://github.com/continuedev/continue/blob/main/core/util/chatDescriber.ts"
PROMPTS = (
    Prompt(
        "Continue",
        TITLE,
        "Given the following... please reply with a title for the chat that is 3-4 words in length",
        "you don't need ending punctuation.",
        _SOURCE,
        in_json=False,
    ),
)
