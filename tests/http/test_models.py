"""`/v1/models`, CORS, and what a key opens."""

import httpx
import msgspec
import pytest
from openai import NotFoundError

from gateway.settings import AgentType, Key, Secret, Tasks
from tests.gateways import KEY, MODEL_HANDLE, chat, gateway, http, sdk
from tests.servers.fake_letta import FakeLetta

TYPES = (
    AgentType(id="tutor", name="Tutor", description="A patient tutor", model=MODEL_HANDLE),
    AgentType(id="team/ops", model=MODEL_HANDLE),
)
# All categories of Open WebUI 0.12.4 but those of its switches.
UNUSED = dict.fromkeys(
    [
        *("time", "user_input", "knowledge", "chats", "memory", "notes", "channels", "tasks"),
        *("automations", "calendar", "skills", "subagents", "notifications", "files"),
    ],
    False,
)
PAGE = "https://page.example"
KEYS = (
    Key(name="all", key=Secret(KEY)),
    Key(name="one", key=Secret("sk-one"), models=("team/ops",)),
    Key(name="page", key=Secret("sk-page"), origins=(PAGE,)),
)


def test_models_are_the_agent_types_with_what_open_webui_reads(letta: FakeLetta) -> None:
    with gateway(letta.base_url, types=TYPES, keys=KEYS) as url, http(url) as client:
        listed = client.get("/v1/models").json()

    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["tutor", "team/ops", "task"]
    tutor = listed["data"][0]
    assert (tutor["object"], tutor["owned_by"], tutor["name"]) == ("model", "letta", "Tutor")
    assert tutor["info"]["meta"] == {
        "description": "A patient tutor",
        "capabilities": {"builtin_tools": True, "usage": True},
        "builtinTools": UNUSED,
    }


def test_a_model_says_what_it_can_do(letta: FakeLetta) -> None:
    quiet = Key(name="quiet", key=Secret(KEY), client_tools="ignore", reasoning="hidden")
    told = {}
    for key in (KEYS[0], quiet):
        with gateway(letta.base_url, types=TYPES, keys=(key,)) as url, http(url) as client:
            told[key.name] = {model["id"]: model["capabilities"] for model in client.get("/v1/models").json()["data"]}

    assert all(told["all"]["tutor"].values())
    assert {name for name, can in told["quiet"]["tutor"].items() if not can} == {"tools", "reasoning"}
    assert {name for name, can in told["all"]["task"].items() if can} == {"chat_completions", "responses", "streaming"}


SWITCHES = ["web_search", "code_interpreter", "image_generation"]


@pytest.mark.parametrize(
    ("key", "type"),
    [
        (Key(name="all", key=Secret(KEY), client_tools="ignore"), TYPES[0]),
        (KEYS[0], msgspec.structs.replace(TYPES[0], client_tools="ignore")),
    ],
    ids=["key", "agent type"],
)
def test_where_a_client_s_tools_are_ignored_open_webui_shows_no_switch_for_its_own(
    letta: FakeLetta, key: Key, type: AgentType
) -> None:
    with gateway(letta.base_url, types=(type,), keys=(key,)) as url, http(url) as client:
        listed, retrieved = client.get("/v1/models").json()["data"][0], client.get("/v1/models/tutor").json()

    assert listed == retrieved
    capabilities = {"builtin_tools": False, "usage": True, **dict.fromkeys(SWITCHES, False)}
    assert listed["info"]["meta"]["capabilities"] == capabilities


def test_the_model_for_background_tasks_comes_last_and_is_not_offered_to_people(letta: FakeLetta) -> None:
    with gateway(letta.base_url, types=TYPES, keys=KEYS) as url, http(url) as client:
        last, retrieved = client.get("/v1/models").json()["data"][-1], client.get("/v1/models/task").json()

    assert last == retrieved
    assert (last["id"], last["object"], last["info"]["meta"]["hidden"]) == ("task", "model", True)


def test_the_model_for_background_tasks_may_be_left_out_of_the_list(letta: FakeLetta) -> None:
    with gateway(letta.base_url, types=TYPES, keys=KEYS, tasks=Tasks(list=False)) as url, sdk(url) as client:
        assert [model.id for model in client.models.list()] == ["tutor", "team/ops"]


def test_created_is_the_same_after_a_restart(letta: FakeLetta) -> None:
    created = []
    for _ in range(2):
        with gateway(letta.base_url) as url, sdk(url) as client:
            created.append(client.models.retrieve("tutor").created)

    assert created[0] == created[1] > 0


def test_a_key_sees_and_uses_its_own_models_only(letta: FakeLetta) -> None:
    with gateway(letta.base_url, types=TYPES, keys=KEYS) as url, sdk(url, "sk-one") as client:
        assert [model.id for model in client.models.list()] == ["team/ops", "task"]
        assert client.models.retrieve("team/ops").id == "team/ops"
        with pytest.raises(NotFoundError) as listed:
            client.models.retrieve("tutor")
        with pytest.raises(NotFoundError) as asked:
            client.chat.completions.create(**chat())
        with pytest.raises(NotFoundError) as unknown:
            client.chat.completions.create(**chat(model="nothing"))

    assert listed.value.message == asked.value.message
    assert asked.value.message.replace("tutor", "nothing") == unknown.value.message


def test_no_page_elsewhere_is_allowed_by_default(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        response = client.get("/v1/models", headers={"origin": PAGE})

    assert "access-control-allow-origin" not in response.headers


def test_a_key_may_be_used_from_its_own_origins(letta: FakeLetta) -> None:
    asking = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    with gateway(letta.base_url, types=TYPES, keys=KEYS) as url, httpx.Client(base_url=url) as client:
        preflight = client.options("/v1/chat/completions", headers=asking)
        allowed = client.get("/v1/models", headers={"origin": PAGE, "authorization": "Bearer sk-page"})
        other_key = client.get("/v1/models", headers={"origin": PAGE, "authorization": f"Bearer {KEY}"})
        other_page = client.get(
            "/v1/models", headers={"origin": "https://x.example", "authorization": "Bearer sk-page"}
        )

    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, PAGE)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
    assert (other_key.status_code, other_key.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in other_page.headers


def test_health_needs_no_key(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, httpx.Client(base_url=url) as client:
        assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
