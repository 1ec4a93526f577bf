"""The prompts of Open WebUI's background tasks, by their words; newer releases say it in a header. Performs no I/O."""

from gateway.domain.request import RequestRole
from gateway.domain.tasks import (
    AUTOCOMPLETE,
    COMPACTION,
    EMOJI,
    FOLLOW_UPS,
    FUNCTIONS,
    IMAGE_PROMPT,
    MEMORY_REVIEW,
    MERGE,
    QUERIES,
    TAGS,
    TITLE,
)
from gateway.frontends.prompts import Prompt

_OPEN_WEBUI = "https://github.com/open-webui/open-webui/blob/v0.12.4/backend/open_webui/"
_CONFIG, _MEMORY, _COMPACTION = (
    f"{_OPEN_WEBUI}{file}" for file in ("config.py", "utils/memory.py", "utils/context_compaction.py")
)
_HISTORY = "<chat_history>"


def _open_webui(
    kind: str,
    begins: str,
    holds: str = _HISTORY,
    *,
    source: str = _CONFIG,
    role: RequestRole = "user",
    streams: bool = False,
) -> Prompt:
    """Its tasks are never streamed, but for merges."""
    return Prompt("Open WebUI", kind, begins, holds, source, role, streams=streams)


PROMPTS = (
    _open_webui(TITLE, "### Task:\nGenerate a concise title summarizing the chat history."),
    _open_webui(TITLE, "### Task:\nGenerate a concise, 3-5 word title"),
    _open_webui(TAGS, "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history"),
    _open_webui(FOLLOW_UPS, "### Task:\nPredict 3-5 useful messages this user might naturally send next"),
    _open_webui(FOLLOW_UPS, "### Task:\nSuggest 3-5 relevant follow-up questions or prompts"),
    _open_webui(QUERIES, "### Task:\nAnalyze the chat history to determine the necessity of generating search queries"),
    _open_webui(AUTOCOMPLETE, "### Task:\nYou are an autocompletion system. Continue the text in `<text>`", "<type>"),
    _open_webui(IMAGE_PROMPT, "### Task:\nGenerate a detailed prompt for am image generation task"),
    _open_webui(
        EMOJI, "Your task is to reflect the speaker's likely facial expression through a fitting emoji.", "Message:"
    ),
    _open_webui(
        MERGE,
        "You have been provided with a set of responses from various models to the latest user query:",
        "Responses from models:",
        streams=True,
    ),
    _open_webui(
        COMPACTION,
        "### Task:\nSummarize the conversation history that will be compacted out of the active chat context.",
        "### Messages Being Compacted:",
        source=_COMPACTION,
    ),
    _open_webui(FUNCTIONS, "Available Tools:", "Your task is to choose and return the correct tool(s)", role="system"),
    _open_webui(
        MEMORY_REVIEW,
        "You are Open WebUI's private memory reviewer.",
        "Existing memories:",
        source=_MEMORY,
        role="system",
    ),
)
