"""The fields of a request that its response repeats. Performs no I/O."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.wires.responses.request import OfferedTool, ResponsesRequest
from gateway.wires.responses.response import ConversationRef
from gateway.wires.responses.tools import NAMESPACE, custom_names, names_in_namespaces, read_choice, takes

# So many bytes an echo has at most, encoded: it is kept with its run, and told three times.
LARGEST_ECHO = 64 * 1024
# https://developers.openai.com/api/docs/guides/reasoning; of others nothing is repeated: clients refuse them.
_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_SUMMARIES = frozenset({"auto", "concise", "detailed"})
_TIERS = frozenset({"auto", "default", "flex", "scale", "priority"})


def _plain_text() -> dict[str, Any]:
    return {"format": {"type": "text"}, "verbosity": "medium"}


def _no_reasoning() -> dict[str, str | None]:
    return {"effort": None, "summary": None}


class Echo(Struct, frozen=True, omit_defaults=True):
    """A request as far as its response repeats it: `Echo("tutor", instructions="Be kind.")`.

    What makes it too large is not repeated: its field is as if the request had not had it.
    """

    model: str
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: ConversationRef | None = None
    tools: list[dict[str, Any]] = msgspec.field(default_factory=list)
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    max_tool_calls: int | None = None
    text: dict[str, Any] = msgspec.field(default_factory=_plain_text)
    reasoning: dict[str, str | None] = msgspec.field(default_factory=_no_reasoning)
    temperature: float = 1.0
    top_p: float = 1.0
    max_output_tokens: int | None = None
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str = "default"
    truncation: str = "disabled"
    store: bool = True
    background: bool = False
    custom_tools: tuple[str, ...] = ()
    """The names of the custom tools, whose calls are told in another way. No response repeats it, nor what follows."""
    namespaces: dict[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    """The namespaces and names of tools that are in one, by the names that the agent knows them by."""
    encrypted: bool = False
    """True: the request asks for encrypted thoughts, so it is said that there are none."""

    def repeated(self) -> dict[str, Any]:
        """The fields of a response that repeat the request."""
        fields = msgspec.structs.asdict(self)
        for name in ("custom_tools", "namespaces", "encrypted"):
            del fields[name]
        return fields


def to_echo(asked: ResponsesRequest) -> Echo:
    """The echo of a request, of LARGEST_ECHO at most."""
    offered = [tool for tool in asked.tools or () if takes(tool)]
    conversation = asked.conversation_id
    echo = Echo(
        asked.model,
        asked.instructions,
        asked.previous_response_id,
        None if conversation is None else ConversationRef(conversation),
        [_tool(tool) for tool in offered],
        _choice(asked.tool_choice),
        asked.parallel_tool_calls is not False,
        asked.most_calls,
        _text(asked),
        _reasoning(asked),
        1.0 if asked.temperature is None else asked.temperature,
        1.0 if asked.top_p is None else asked.top_p,
        asked.most_tokens,
        dict(asked.metadata or {}),
        asked.user,
        asked.safety_identifier,
        asked.prompt_cache_key,
        asked.service_tier if asked.service_tier in _TIERS else "default",
        asked.truncation or "disabled",
        asked.store is not False,
        bool(asked.background),
        custom_names(offered),
        names_in_namespaces(offered),
        asked.asks_for_encrypted,
    )
    return _bounded(echo)


def _bounded(echo: Echo) -> Echo:
    """The echo without its largest fields, until it is small enough. The name of the model stays."""
    sizes = {name: len(msgspec.json.encode(value)) for name, value in msgspec.structs.asdict(echo).items()}
    defaults = Echo("")
    total = sum(sizes.values())
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= LARGEST_ECHO:
            break
        if name != "model":
            echo = msgspec.structs.replace(echo, **{name: getattr(defaults, name)})
            total -= sizes[name]
    return echo


def _tool(tool: OfferedTool) -> dict[str, Any]:
    if tool.type == NAMESPACE:
        tools = [_tool(one) for one in tool.tools or ()]
        return {"type": NAMESPACE, "name": tool.name, "description": tool.description or "", "tools": tools}
    if tool.type == "custom":
        told = {"type": "custom", "name": tool.name, "description": tool.description}
        return {**told, "format": tool.format} if _is_grammar(tool.format) else told
    return {
        "type": tool.type,
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": bool(tool.strict),
    }


def _is_grammar(form: Any) -> bool:
    match form:
        case {"type": "grammar", "syntax": "lark" | "regex", "definition": str()}:
            return True
    return False


def _choice(choice: Any) -> str | dict[str, Any]:
    if choice is None or read_choice(choice) is None:
        return "auto"
    if isinstance(choice, dict):
        return {name: value for name, value in choice.items() if name in ("type", "name", "mode", "tools")}
    return str(choice)


def _text(asked: ResponsesRequest) -> dict[str, Any]:
    told = asked.format or {"type": "text"}
    if told.get("type") == "json_schema":
        told = {"description": None, "strict": False, **told}
        told["strict"] = bool(told["strict"])
    return {"format": told, "verbosity": (asked.text and asked.text.verbosity) or "medium"}


def _reasoning(asked: ResponsesRequest) -> dict[str, str | None]:
    summary = asked.reasoning.summary if asked.reasoning else None
    return {
        "effort": asked.effort if asked.effort in _EFFORTS else None,
        "summary": summary if summary in _SUMMARIES else None,
    }
