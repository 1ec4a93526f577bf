"""The tool that the offline model calls by itself: one that is demanded, or that a message speaks of. No I/O."""

import re
from collections.abc import Iterator

from gateway.offline.request import ChatRequest, Function

# How the gateway tells an agent whose client demands a call: no Letta tells its model in another way.
_DEMAND = re.compile(r"You must answer with a call of the tool ((?:`[^`]+`(?: or )?)+)")
# The first word of many names says what is done, the rest what it is about: `get_weather`.
_DOES = re.compile(r"\A(?:get|fetch|find|read|show|check|lookup|look_up|query|retrieve)_(?:the_)?(?:current_)?")


def tool_for(request: ChatRequest, asked: str) -> Function | None:
    """The tool to be called for the message `asked`; None where words will do."""
    functions = [tool.function for tool in request.tools or () if tool.function]
    spoken_of = [function for function in functions if _speaks_of(asked, function.name)]
    names = _demanded(request, functions)
    demanded = [function for function in functions if function.name in names]
    both = [function for function in spoken_of if function in demanded]
    return next(iter((both or demanded) if demanded else spoken_of), None)


def _speaks_of(asked: str, name: str) -> bool:
    """True for `Call the tool get_weather`, and for a question about what it is for: `What is the weather in Oslo?`"""
    named = rf"\b(?:call|use)\s+(?:the\s+)?(?:(?:tool|function)\s+)?[`'\"]?{re.escape(name)}(?![\w-])"
    if re.search(named, asked, re.IGNORECASE):
        return True
    subject = re.escape(_DOES.sub("", name).replace("_", " ").replace("-", " "))
    question = rf"\b(?:what|how)(?:\s+is|\s+are|['’]s)?\s+(?:the\s+)?(?:current\s+)?{subject}\b"
    # Names of an App Server's own begin with a capital, and are people's words: `Task`.
    return name[:1].islower() and bool(re.search(question, asked, re.IGNORECASE))


def _demanded(request: ChatRequest, functions: list[Function]) -> set[str]:
    """The names of the tools of which one must be called, as OpenAI's API says it, or as the gateway does."""
    match request.tool_choice:
        case "required":
            return {function.name for function in functions}
        case {"function": {"name": str(name)}}:
            return {name}
    demands = [demand for text in _told(request) for demand in _DEMAND.findall(text)]
    return {name for demand in demands for name in re.findall("`([^`]+)`", demand)}


def _told(request: ChatRequest) -> Iterator[str]:
    """All that was told since the last answer."""
    for message in reversed(request.messages):
        if message.role == "assistant":
            return
        yield message.text
