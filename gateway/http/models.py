"""`GET /v1/models` and `GET /v1/models/{id}`: agent types as models."""

from litestar import Request, get
from litestar.datastructures import State
from litestar.params import FromPath

from gateway.frontends.open_webui.models import agent_info, hidden_info
from gateway.http.asking import find_type
from gateway.http.parts import admit, parts_of
from gateway.settings import TASK_MODEL, AgentType, Key
from gateway.turns.turn import forwards_tools
from gateway.wires.chat_completions.response import ModelCapabilities, ModelList, ModelObject

# OpenAI's `created` says when a model was made. An agent type has no such day, so all have this one, 2026-01-01, which
# is the same after a restart and at every gateway.
CREATED = 1_767_225_600


@get("/v1/models", name="list_models")
async def list_models(request: Request[None, None, State]) -> ModelList:
    """List the agent types that this key may use; the model for background tasks, which is no agent's, comes last."""
    settings, key = parts_of(request).settings, admit(request).key
    models = [to_model(key, agent_type) for agent_type in settings.types_for(key)]
    return ModelList([*models, TASKS] if settings.tasks.list else models)


# The parameter is a path because ids may have a slash in them.
@get("/v1/models/{model:path}", name="retrieve_model")
async def retrieve_model(request: Request[None, None, State], model: FromPath[str]) -> ModelObject:
    settings, key = parts_of(request).settings, admit(request).key
    name = model.removeprefix("/")
    return TASKS if name == TASK_MODEL else to_model(key, find_type(settings, key, name))


def to_model(key: Key, agent_type: AgentType) -> ModelObject:
    calls_tools = forwards_tools(key, agent_type)
    info = agent_info(agent_type.description, calls_tools)
    thinks = (key.reasoning or agent_type.reasoning) != "hidden"
    can = ModelCapabilities(tools=calls_tools, reasoning=thinks)
    return ModelObject(agent_type.id, CREATED, agent_type.title, info, can)


TASKS = ModelObject(
    TASK_MODEL,
    CREATED,
    "Background tasks",
    hidden_info("Titles and the like: no agent, no memory"),
    ModelCapabilities(background=False, conversations=False, tools=False, structured_outputs=False, reasoning=False),
)
