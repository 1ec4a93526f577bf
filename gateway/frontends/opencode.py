"""The prompts of opencode's background tasks. Performs no I/O."""

from gateway.domain.tasks import TITLE
from gateway.frontends.prompts import Prompt

_SOURCE = "https://github.com/anomalyco/opencode/blob/dev/packages/opencode/src/agent/prompt/title.txt"
PROMPTS = (
    Prompt(
        "opencode",
        TITLE,
        "You are a title generator. You output ONLY a thread title. Nothing else.",
        "",
        _SOURCE,
        role="system",
        in_json=False,
        alone=False,
    ),
)
