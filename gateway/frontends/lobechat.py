"""The prompts of LobeChat's background tasks. Performs no I/O."""

from gateway.domain.tasks import TITLE
from gateway.frontends.prompts import Prompt

_SOURCE = "https://github.com/lobehub/lobe-chat/blob/main/packages/prompts/src/chains/summaryTitle.ts"
PROMPTS = (
    Prompt(
        "LobeChat",
        TITLE,
        "You are a professional conversation summarizer. Generate a concise title that captures the essence",
        "Use the language specified by the locale code:",
        _SOURCE,
        role="system",
        in_json=False,
    ),
)
