"""The prompts of qwen-code's background tasks. Performs no I/O."""

from gateway.domain.tasks import MEMORY_EXTRACTION
from gateway.frontends.prompts import Prompt

_SOURCE = "https://github.com/QwenLM/qwen-code/blob/main/packages/core/src/memory/extractionAgentPlanner.ts"
PROMPTS = (
    Prompt(
        "qwen-code",
        MEMORY_EXTRACTION,
        "You are now acting as the managed memory extraction subagent for an AI coding assistant.",
        "",
        _SOURCE,
        role="system",
        in_json=False,
        alone=False,
    ),
)
