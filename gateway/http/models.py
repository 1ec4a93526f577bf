"""`GET /v1/models` and `GET /v1/models/{id}`: agent types as models."""

from litestar import Request, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.http.auth import authenticate
from gateway.http.chat import find_type
from gateway.settings import TASK_MODEL, AgentType, Key, Settings
from gateway.turns.turn import forwards_tools
from gateway.wires.chat_completions.response import ModelList, ModelObject

# OpenAI's `created` says when a model was made. An agent type has no such day; one that is the same for all
# is the same after a restart, and at every gateway. (2026-01-01)
CREATED = 1_767_225_600
# What people switch on for a chat in Open WebUI are built-in tools of its own, offered to a model while they are on.
SWITCHES = ("web_search", "code_interpreter", "image_generation")
# It offers these, too, all the time, unless a model says it has no use for them: an agent has its own memory and
# searches, and knows what was said. (0.12.4, `get_builtin_tools` in utils/tools.py)
UNUSED_TOOLS = (
    *("time", "user_input", "knowledge", "chats", "memory", "notes", "channels", "tasks"),
    *("automations", "calendar", "skills", "subagents", "notifications", "files"),
)


@get("/v1/models", name="list_models")
async def list_models(request: Request[None, None, State], settings: NamedDependency[Settings]) -> ModelList:
    """The agent types this key may use; the model for background tasks, which is no agent's, comes last."""
    key = authenticate(settings, request.headers)
    models = [to_model(key, agent_type) for agent_type in settings.types_for(key)]
    return ModelList([*models, TASKS] if settings.tasks.list else models)


# A path, for ids with a slash in them.
@get("/v1/models/{model:path}", name="retrieve_model")
async def retrieve_model(
    request: Request[None, None, State], settings: NamedDependency[Settings], model: FromPath[str]
) -> ModelObject:
    key = authenticate(settings, request.headers)
    name = model.removeprefix("/")
    return TASKS if name == TASK_MODEL else to_model(key, find_type(settings, key, name))


def to_model(key: Key, agent_type: AgentType) -> ModelObject:
    # Where nobody calls the tools that a request brings, its switches would do nothing: it does not show them.
    forwards = forwards_tools(key, agent_type)
    meta: dict[str, object] = {
        "description": agent_type.description,
        "capabilities": {
            "builtin_tools": forwards,
            "usage": True,
            **({} if forwards else dict.fromkeys(SWITCHES, False)),
        },
        "builtinTools": dict.fromkeys(UNUSED_TOOLS, False),
    }
    return ModelObject(agent_type.id, CREATED, agent_type.title, {"meta": meta})


# Open WebUI does not offer a hidden model to people.
TASKS = ModelObject(
    TASK_MODEL,
    CREATED,
    "Background tasks",
    {"meta": {"description": "Titles and the like: no agent, no memory", "hidden": True}},
)
