"""Which requests are background tasks of a frontend (a title, tags, …) and not a person's turn. Performs no I/O.

A frontend says so in a header, exactly, or its prompts are known by their words.
"""

from collections.abc import Mapping

from msgspec import Struct

from gateway.settings import TASK_MODEL, Key
from gateway.turns.people.identity import read_header
from gateway.wires.chat_completions.request import ChatCompletionRequest, Role, text_of

# https://github.com/open-webui/open-webui, backend/open_webui/constants.py: the words of its header.
TITLE = "title_generation"
TAGS = "tags_generation"
FOLLOW_UPS = "follow_up_generation"
QUERIES = "query_generation"
AUTOCOMPLETE = "autocomplete_generation"
EMOJI = "emoji_generation"
IMAGE_PROMPT = "image_prompt_generation"
MERGE = "moa_response_generation"
FUNCTIONS = "function_calling"
COMPACTION = "context_compaction"
MEMORY_REVIEW = "memory_review"
# qwen-code's; it is answered with nothing.
MEMORY_EXTRACTION = "memory_extraction"


class Task(Struct, frozen=True):
    """What a frontend asks for behind its person's back."""

    kind: str
    """A word of Open WebUI's; others are answered with an empty text."""
    in_json: bool = True
    """Whether its answer is read as a JSON object, where the kind has one."""


class Prompt(Struct, frozen=True):
    """How the prompt of a task is known by its words."""

    client: str
    kind: str
    begins: str
    """How the message of `role` begins. Never with `### Task:` alone: a real turn with a file begins so."""
    holds: str
    """What stands in it, or in the message after it, besides."""
    source: str
    role: Role = "user"
    in_json: bool = True
    streams: bool = True
    """Whether it may be asked for as a stream."""
    alone: bool = True
    """Whether nothing comes with it; else messages of the chat that it is about follow."""

    def fits(self, request: "Worded | None") -> bool:
        """Whether a request is this prompt, and nothing more where it comes `alone`."""
        if request and not self.alone:
            return request.roles[:1] == [self.role] and request.text.startswith(self.begins)
        whole = ["user"] if self.role == "user" else ["system", "user"]
        if request is None or request.roles not in (whole, ["system"]) or (request.streams and not self.streams):
            return False
        return request.text.startswith(self.begins) and self.holds in request.text


class Worded(Struct, frozen=True):
    """The words of a request that may be a prompt."""

    roles: list[Role]
    """Of its first messages."""
    text: str
    """From its first word: all of one message, or of a user's after a system message; else of the first one."""
    streams: bool


def worded(request: ChatCompletionRequest) -> Worded:
    roles = [message.role for message in request.messages[:3]]
    told = request.messages if roles in (["user"], ["system"], ["system", "user"]) else request.messages[:1]
    text = "\n".join(text_of(message.content) for message in told)
    return Worded(roles, text.lstrip(), bool(request.stream))


_OPEN_WEBUI = "https://github.com/open-webui/open-webui/blob/v0.12.4/backend/open_webui/"
_CONFIG, _MEMORY, _COMPACTION = (
    f"{_OPEN_WEBUI}{file}" for file in ("config.py", "utils/memory.py", "utils/context_compaction.py")
)
_LIBRECHAT = "https://github.com/danny-avila/agents/blob/main/src/utils/title.ts"
_CONTINUE = "https://github.com/continuedev/continue/blob/main/core/util/chatDescriber.ts"
_LOBECHAT = "https://github.com/lobehub/lobe-chat/blob/main/packages/prompts/src/chains/summaryTitle.ts"
_OPENCODE = "https://github.com/anomalyco/opencode/blob/dev/packages/opencode/src/agent/prompt/title.txt"
_N8N = "https://github.com/n8n-io/n8n/blob/master/packages/cli/src/modules/chat-hub/chat-hub.constants.ts"
_QWEN_CODE = "https://github.com/QwenLM/qwen-code/blob/main/packages/core/src/memory/extractionAgentPlanner.ts"
_HISTORY = "<chat_history>"


def _open_webui(
    kind: str, begins: str, holds: str = _HISTORY, *, source: str = _CONFIG, role: Role = "user", streams: bool = False
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
    Prompt(
        "LibreChat",
        TITLE,
        "Provide a concise, 5-word-or-less title for the conversation, using",
        "title itself",
        _LIBRECHAT,
        in_json=False,
    ),
    Prompt(
        "LibreChat",
        TITLE,
        "Analyze this conversation and provide:\n1. The detected language of the conversation",
        "5 words or less, no punctuation or quotation",
        _LIBRECHAT,
        in_json=False,
    ),
    Prompt(
        "Continue",
        TITLE,
        "Given the following... please reply with a title for the chat that is 3-4 words in length",
        "you don't need ending punctuation.",
        _CONTINUE,
        in_json=False,
    ),
    Prompt(
        "LobeChat",
        TITLE,
        "You are a professional conversation summarizer. Generate a concise title that captures the essence",
        "Use the language specified by the locale code:",
        _LOBECHAT,
        role="system",
        in_json=False,
    ),
    Prompt(
        "n8n",
        TITLE,
        "Generate a concise, descriptive title for this conversation based on the user's message.",
        "Only output the title, nothing else",
        _N8N,
        role="system",
        in_json=False,
    ),
    Prompt(
        "opencode",
        TITLE,
        "You are a title generator. You output ONLY a thread title. Nothing else.",
        "",
        _OPENCODE,
        role="system",
        in_json=False,
        alone=False,
    ),
    Prompt(
        "qwen-code",
        MEMORY_EXTRACTION,
        "You are now acting as the managed memory extraction subagent for an AI coding assistant.",
        "",
        _QWEN_CODE,
        role="system",
        in_json=False,
        alone=False,
    ),
)


def find_task(key: Key, headers: Mapping[str, str], request: ChatCompletionRequest) -> Task | None:
    """The task that a request is; None for a real turn.

    A header decides, also where it is empty; only without one do the words of a prompt. A client that is pointed at
    the model for tasks wants a title, if it wants nothing else that is known.
    """
    named = read_header(headers, key.task_header)
    words = worded(request) if named is None else None
    known = next((Task(p.kind, p.in_json) for p in PROMPTS if p.fits(words)), None)
    task = Task(named) if named else known
    return Task(TITLE, in_json=False) if task is None and request.model == TASK_MODEL else task
