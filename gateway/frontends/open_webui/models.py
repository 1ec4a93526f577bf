"""The fields of a model that Open WebUI reads beside OpenAI's: its description, and what it can do. Performs no I/O."""

# What people switch on for a chat in Open WebUI are built-in tools of its own, offered to a model while they are on.
SWITCHED_TOOLS = ("web_search", "code_interpreter", "image_generation")
# It offers these, too, all the time, unless a model says it has no use for them: an agent has its own memory and
# searches, and knows what was said. (0.12.4, `get_builtin_tools` in utils/tools.py)
UNUSED_TOOLS = (
    *("time", "user_input", "knowledge", "chats", "memory", "notes", "channels", "tasks"),
    *("automations", "calendar", "skills", "subagents", "notifications", "files"),
)


def agent_info(description: str, calls_tools: bool) -> dict[str, dict[str, object]]:
    """The `info` of an agent's model.

    Without `calls_tools` nobody calls the tools that a request brings: switches would do nothing, and are not shown.
    """
    capabilities = {
        "builtin_tools": calls_tools,
        "usage": True,
        **({} if calls_tools else dict.fromkeys(SWITCHED_TOOLS, False)),
    }
    unused = dict.fromkeys(UNUSED_TOOLS, False)
    return {"meta": {"description": description, "capabilities": capabilities, "builtinTools": unused}}


def hidden_info(description: str) -> dict[str, dict[str, object]]:
    """The `info` of a model that Open WebUI does not offer to people."""
    return {"meta": {"description": description, "hidden": True}}
