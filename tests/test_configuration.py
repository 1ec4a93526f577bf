"""The configuration: a whole file, the environment alone, and how each mistake is told."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest

from gateway.configuration import Overrides, SettingsError, load, load_demo
from gateway.settings import (
    DEFAULT_MEMORY,
    AgentType,
    Allowance,
    Chats,
    Images,
    Key,
    Letta,
    Provider,
    Secret,
    Server,
    Settings,
    UpstreamKind,
    is_loopback,
)

SECRET = "sk-never-shown"
ENVIRON = {
    "LETTA_API_KEY": "letta-secret",
    "OPENWEBUI_KEY": "openwebui-secret",
    "SCRIPTS_KEY": "scripts-secret",
    "ALICE_KEY": "alice-secret",
}
EXAMPLE = """
[server]
host = "127.0.0.1"
port = 8000
ping_seconds = 10
first_event_seconds = 0.9
silence_seconds = 300            # no event but pings for so long: the run is cancelled, 504

[letta]
upstream = "rest"
base_url = "http://127.0.0.1:8283"
api_key = "${LETTA_API_KEY}"

[chats]
queue_length = 20                 # so many turns of one chat may wait for the one under way
queue_seconds = 120               # for so long
grace_seconds = 1.0               # a run whose client has left goes on for so long
resend_seconds = 120              # for so long a finished answer is kept for a request that is sent again
temporary_ttl = 3600              # so long after its last turn a temporary chat is deleted, in seconds
scratch_days = 7                  # and a chat without an id, or one that was replaced, in days

[images]
max_mb = 5                        # the largest picture, in MiB
fetch = false                     # whether pictures are fetched from their addresses

[[agent_types]]
id = "tutor"                      # what `model` names
name = "Tutor"
description = "A patient maths tutor"
model = "openai/gpt-4o-mini"      # Letta's model handle
embedding = "openai/text-embedding-3-small"
system = "You are …"              # or system_file
tools = ["web_search"]            # Letta tools, by name
reasoning = "think_tags"          # think_tags | reasoning_content | hidden
conversations = "single"          # chat | single: one endless thread for each user
[agent_types.memory]              # block label = first value
persona = "…"
human = "The user's name is {user_name}."

[[agent_types]]
id = "ops"
agent = "agent-…"                 # an agent that exists: everyone who may use this type shares it

[[keys]]
name = "open-webui"
key = "${OPENWEBUI_KEY}"
user_from = ["header:X-OpenWebUI-User-Id"]
models = ["tutor"]                # absent: all
scope = "school"                  # keys of one scope share users; absent: the key's name
history = "full"                  # full | new: whether requests tell the whole chat
message_id_header = "X-Answer"
user_message_id_header = "X-Question"
parent_id_header = "X-Before"

[[keys]]
name = "scripts"
key = "${SCRIPTS_KEY}"
user_from = ["body:user", "body:safety_identifier"]   # for callers that are programs
user_means = "person"             # person | conversation | ignored
default_user = "me"               # who asks when a request names nobody; absent: such a request is refused
reasoning = "reasoning_content"   # per key, before the agent type's
tool_activity = "rich"            # thoughts | rich | hidden
origins = []                      # CORS, off by default

[[keys]]
name = "alice"
key = "${ALICE_KEY}"
user = "alice"                    # bound: whatever the request says, this is who asks
"""
TYPE = """
[[agent_types]]
id = "tutor"
model = "openai/gpt-4o-mini"
"""
KEY = f"""
[[keys]]
name = "scripts"
key = "{SECRET}"
"""
SHARED = """
[[agent_types]]
id = "ops"
agent = "agent-1"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


def load_text(file: Path, text: str) -> Settings:
    file.write_text(text, encoding="utf-8")
    return load(file, ENVIRON)


def mistake(file: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_text(file, text)
    return str(caught.value)


def sha256(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def sources(key: Key) -> list[tuple[str, str]]:
    return [(source.kind, source.name) for source in key.user_from]


def test_the_example_loads_server_letta_and_chats(file: Path) -> None:
    settings = load_text(file, EXAMPLE)

    assert settings.server == Server()
    assert settings.letta == Letta(upstream="rest", base_url="http://127.0.0.1:8283", api_key=Secret("letta-secret"))
    assert settings.chats == Chats()
    assert settings.images == Images(max_mb=5, fetch=False) == Images()


def test_the_example_loads_every_agent_type(file: Path) -> None:
    tutor, ops = load_text(file, EXAMPLE).agent_types

    assert tutor == AgentType(
        id="tutor",
        name="Tutor",
        description="A patient maths tutor",
        model="openai/gpt-4o-mini",
        embedding="openai/text-embedding-3-small",
        system="You are …",
        tools=("web_search",),
        memory={"persona": "…", "human": "The user's name is {user_name}."},
        reasoning="think_tags",
        conversations="single",
    )
    assert ops == AgentType(id="ops", agent="agent-…")


def test_the_example_loads_every_key(file: Path) -> None:
    webui, scripts, alice = load_text(file, EXAMPLE).keys

    assert [key.key for key in (webui, scripts, alice)] == [
        Secret("openwebui-secret"),
        Secret("scripts-secret"),
        Secret("alice-secret"),
    ]
    assert sources(webui) == [("header", "x-openwebui-user-id")]
    assert (webui.models, webui.scope, webui.history) == (("tutor",), "school", "full")
    headers = webui.message_id_header, webui.user_message_id_header, webui.parent_id_header
    assert headers == ("X-Answer", "X-Question", "X-Before")
    assert (scripts.user_means, scripts.default_user, scripts.reasoning) == ("person", "me", "reasoning_content")
    assert [key.tool_activity for key in (webui, scripts, alice)] == ["thoughts", "rich", "thoughts"]
    assert alice.user == "alice"


def test_a_key_looks_in_the_body_unless_told_otherwise(file: Path) -> None:
    (key,) = load_text(file, TYPE + KEY).keys

    assert sources(key) == [("body", "user"), ("body", "safety_identifier")]
    assert (key.user, key.default_user, key.user_means) == (None, None, "person")


A, B = "a" * 64, "b" * 64
HASHED = {
    "one": (f'sha256 = "{A}"', [(A, None)]),
    "several": (f'sha256 = ["{A}", "{B}"]', [(A, None), (B, None)]),
    "in capitals": (f'sha256 = ["{A.upper()}"]', [(A, None)]),
    "with its own end": (
        f'sha256 = ["{A}", {{hash = "{B}", expires = 2027-01-01}}]',
        [(A, None), (B, datetime(2027, 1, 1, tzinfo=UTC))],
    ),
}


@pytest.mark.parametrize(("line", "known"), HASHED.values(), ids=HASHED)
def test_a_key_may_be_known_by_the_digests_of_its_values(
    file: Path, line: str, known: list[tuple[str, datetime | None]]
) -> None:
    (key,) = load_text(file, TYPE + f'[[keys]]\nname = "hashed"\n{line}').keys

    assert [(each.hash, each.expires) for each in key.sha256] == known
    assert key.key is None


MOMENTS = {
    "a day": ("2027-01-01", datetime(2027, 1, 1, tzinfo=UTC)),
    "a time of no zone": ("2027-01-01T12:30:00", datetime(2027, 1, 1, 12, 30, tzinfo=UTC)),
    "a time of some zone": ("2027-01-01T00:00:00+02:00", datetime(2027, 1, 1, tzinfo=timezone(timedelta(hours=2)))),
    "a time in quotes": ('"2027-01-01T00:00:00Z"', datetime(2027, 1, 1, tzinfo=UTC)),
}


@pytest.mark.parametrize(("written", "meant"), MOMENTS.values(), ids=MOMENTS)
def test_a_key_expires_at_a_moment_which_is_in_utc_unless_told_otherwise(
    file: Path, written: str, meant: datetime
) -> None:
    (key,) = load_text(file, TYPE + KEY + f"expires = {written}").keys

    assert key.expires == meant
    assert key.digests == {sha256(SECRET): meant}


def test_a_field_is_read_by_the_name_that_it_had_before(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = load_text(file, "[server]\nshutdown_seconds = 7\n" + TYPE)

    assert settings.server.drain_seconds == 7
    assert [record.message for record in caplog.records] == [
        f"{file}: server.shutdown_seconds is called `drain_seconds` now: please rename it"
    ]


def test_a_key_opens_every_type_unless_told_otherwise(file: Path) -> None:
    settings = load_text(file, EXAMPLE)

    allowed = {key.name: [agent_type.id for agent_type in settings.types_for(key)] for key in settings.keys}

    assert allowed == {"open-webui": ["tutor"], "scripts": ["tutor", "ops"], "alice": ["tutor", "ops"]}


def test_a_key_looks_for_message_ids_where_open_webui_is_told_to_send_them(file: Path) -> None:
    (key,) = load_text(file, TYPE + KEY).keys

    assert (key.message_id_header, key.user_message_id_header) == ("x-message-id", "x-user-message-id")
    assert (key.parent_id_header, key.history) == ("x-parent-id", None)


def test_a_file_without_agent_types_has_the_one_that_the_environment_alone_makes(file: Path) -> None:
    file.write_text(KEY, encoding="utf-8")
    environ = {"GATEWAY_MODEL": "openai/gpt-4o-mini"}
    (of_file,), (alone,) = load(file, environ).agent_types, load(None, environ).agent_types

    assert (of_file.id, of_file.name, of_file.model) == (alone.id, alone.name, alone.model)
    assert of_file.description == load_demo({}, Overrides(), Secret(SECRET)).agent_types[0].description


# What names the model of types that name none: the environment, the command line
MODELS: dict[str, tuple[dict[str, str], str | None, str | None]] = {
    "nothing": ({}, None, None),
    "the environment": ({"GATEWAY_MODEL": "m/env"}, None, "m/env"),
    "the command line": ({}, "m/line", "m/line"),
    "both": ({"GATEWAY_MODEL": "m/env"}, "m/line", "m/line"),
}


@pytest.mark.parametrize(("environ", "option", "model"), MODELS.values(), ids=MODELS)
def test_types_that_name_no_model_have_that_of_the_command_line_or_of_the_environment(
    file: Path, environ: dict[str, str], option: str | None, model: str | None
) -> None:
    file.write_text(
        '[[agent_types]]\nid = "a"\n[[agent_types]]\nid = "b"\nmodel = "m/own"\n'
        '[[agent_types]]\nid = "c"\nagent = "agent-1"\n',
        encoding="utf-8",
    )
    overrides = Overrides(model=option)
    demo = load_demo(environ, overrides, Secret(SECRET))

    assert [each.model for each in load(file, environ, overrides).agent_types] == [model, "m/own", None]
    assert [each.model for each in load(None, environ, overrides).agent_types] == [model]
    assert [each.model for each in demo.agent_types] == [model]


def test_a_file_s_only_type_may_leave_its_model_to_letta(file: Path) -> None:
    (letta,) = load_text(file, "").agent_types

    assert (letta.id, letta.model) == ("letta", None)


def test_a_type_without_a_name_is_called_by_its_id(file: Path) -> None:
    tutor, ops = load_text(file, EXAMPLE).agent_types

    assert (tutor.title, ops.title) == ("Tutor", "ops")


def test_a_type_without_memory_has_the_usual_blocks(file: Path) -> None:
    (tutor,) = load_text(file, TYPE).agent_types

    assert tutor.blocks == DEFAULT_MEMORY


def test_an_empty_memory_has_no_blocks(file: Path) -> None:
    (tutor,) = load_text(file, TYPE + "memory = {}").agent_types

    assert tutor.blocks == {}


# What is wrong with the file: (the file, the words its message must hold).
MISTAKES: dict[str, tuple[str, list[str]]] = {
    "no model for a REST server": (
        '[letta]\nbase_url = "http://127.0.0.1:8283"',
        ["agent_types[0].model: ", "missing", "GATEWAY_MODEL"],
    ),
    "no agent type in the list": ("agent_types = []", ["agent_types: ", "`[]`", ">= 1"]),
    "agent types as a table": ('[agent_types]\nid = "tutor"', ["agent_types: ", "Expected `array`"]),
    "server is no table": ("server = 5\n" + TYPE, ["server: ", "`5`", "Expected `object`"]),
    "host of a wrong type": ("[server]\nhost = 5\n" + TYPE, ["server.host: ", "`5`", "Expected `str`"]),
    "host for all": ('[server]\nhost = "0.0.0.0"\n' + TYPE, ["server.host: ", "`0.0.0.0`", "loopback", "[[keys]]"]),
    "host by name": ('[server]\nhost = "example.org"\n' + TYPE, ["server.host: ", "`example.org`", "loopback"]),
    "port of a wrong type": ('[server]\nport = "http"\n' + TYPE, ["server.port: ", "`http`", "Expected `int`"]),
    "port too high": ("[server]\nport = 65536\n" + TYPE, ["server.port: ", "`65536`", "<= 65535"]),
    "port below zero": ("[server]\nport = -1\n" + TYPE, ["server.port: ", "`-1`", ">= 0"]),
    "port not whole": ("[server]\nport = 80.5\n" + TYPE, ["server.port: ", "`80.5`", "Expected `int`"]),
    "no seconds": ("[server]\nping_seconds = 0\n" + TYPE, ["server.ping_seconds: ", "`0`", "> 0"]),
    "seconds in words": ('[server]\nsilence_seconds = "long"\n' + TYPE, ["server.silence_seconds: ", "`long`"]),
    "upstream nobody knows": (
        '[letta]\nupstream = "soap"\n' + TYPE,
        ["letta.upstream: ", "`soap`", "rest", "app-server", "embedded"],
    ),
    "address without scheme": (
        '[letta]\nbase_url = "localhost:8283"\n' + TYPE,
        ["letta.base_url: ", "`localhost:8283`", "http"],
    ),
    "address of no scheme that is known": (
        '[letta]\nbase_url = "ftp://letta"\n' + TYPE,
        ["letta.base_url: ", "`ftp://letta`", "https?|wss?"],
    ),
    "address without host": (
        '[letta]\nbase_url = "http:///v1"\n' + TYPE,
        ["letta.base_url: ", "`http:///v1`", "`http://127.0.0.1:8283`"],
    ),
    "address with half a host": (
        '[letta]\nbase_url = "ws://[::1"\n' + TYPE,
        ["letta.base_url: ", "`ws://[::1`", "`ws://127.0.0.1:4500`"],
    ),
    "address with a port that is none": (
        '[letta]\nbase_url = "http://letta:http"\n' + TYPE,
        ["letta.base_url: ", "`http://letta:http`", "`http://127.0.0.1:8283`"],
    ),
    "WebSocket address of a REST upstream": (
        '[letta]\nupstream = "rest"\nbase_url = "ws://letta:4500"\n' + TYPE,
        ["letta.base_url: ", "`ws://letta:4500`", "`http://127.0.0.1:8283`"],
    ),
    "HTTP address of an App Server": (
        '[letta]\nupstream = "app-server"\nbase_url = "https://letta"\n' + TYPE,
        ["letta.base_url: ", "`https://letta`", "`ws://127.0.0.1:4500`"],
    ),
    "address of an embedded Letta": (
        '[letta]\nupstream = "embedded"\nbase_url = "ws://letta:4500"\n' + TYPE,
        ["letta.base_url: ", "`ws://letta:4500`", "expected nothing"],
    ),
    "provider without id": (f'[provider]\napi_key = "{SECRET}"\n' + TYPE, ["provider", "missing", "`id`"]),
    "provider nobody knows": (
        f'[provider]\nid = "acme"\napi_key = "{SECRET}"\n' + TYPE,
        ["provider.id: ", "`acme`", "openai-compatible", "openai", "anthropic", "openrouter", "ollama"],
    ),
    "provider's address without scheme": (
        '[provider]\nid = "ollama"\nbase_url = "localhost:11434"\n' + TYPE,
        ["provider.base_url: ", "`localhost:11434`", "https?"],
    ),
    "provider's key empty": (
        '[provider]\nid = "openai"\napi_key = ""\n' + TYPE,
        ["provider.api_key: ", "Expected a value"],
    ),
    "provider's key in a list": (
        f'[provider]\nid = "openai"\napi_key = ["{SECRET}"]\n' + TYPE,
        ["provider.api_key: ", "Expected `str`"],
    ),
    "vision nobody can tell": (
        '[provider]\nid = "openai-compatible"\nvision = "perhaps"\n' + TYPE,
        ["provider.vision", "Expected `bool"],
    ),
    "vision of models that Letta knows": (
        '[provider]\nid = "ollama"\nvision = true\n' + TYPE,
        ["provider.vision: ", "expected nothing", "`ollama`"],
    ),
    "several providers": (f'[[provider]]\napi_key = "{SECRET}"\n' + TYPE, ["provider: ", "Expected `object"]),
    "unknown field of the provider": (
        f'[provider]\nid = "openai"\napikey = "{SECRET}"\n' + TYPE,
        ["provider: ", "`apikey`", "did you mean `api_key`?"],
    ),
    "letta's key empty": ('[letta]\napi_key = ""\n' + TYPE, ["letta.api_key: ", "Expected a value"]),
    "letta's key in a list": (f'[letta]\napi_key = ["{SECRET}"]\n' + TYPE, ["letta.api_key: ", "Expected `str`"]),
    "several lettas": (f'[[letta]]\napi_key = "{SECRET}"\n' + TYPE, ["letta: ", "Expected `object`"]),
    "type without id": ('[[agent_types]]\nmodel = "m"', ["agent_types[0]", "missing", "`id`"]),
    "type with an empty id": ('[[agent_types]]\nid = ""\nmodel = "m"', ["agent_types[0].id: ", "``", ">= 1"]),
    "id with a space": ('[[agent_types]]\nid = "my tutor"\nmodel = "m"', ["agent_types[0].id: ", "`my tutor`"]),
    "id with a comma": ('[[agent_types]]\nid = "a,b"\nmodel = "m"', ["agent_types[0].id: ", "`a,b`"]),
    "id with a line end": ('[[agent_types]]\nid = "tutor\\n"\nmodel = "m"', ["agent_types[0].id: "]),
    "id of a wrong type": ('[[agent_types]]\nid = 4\nmodel = "m"', ["agent_types[0].id: ", "`4`", "Expected `str`"]),
    "id of the gateway's tag": ('[[agent_types]]\nid = "gateway"\nmodel = "m"', ["agent_types[0].id: ", "`gateway`"]),
    "id like a gateway's tag": ('[[agent_types]]\nid = "gw-mine"\nmodel = "m"', ["agent_types[0].id: ", "`gw-mine`"]),
    "two types of one id": (TYPE + TYPE, ["agent_types[1].id: ", "`tutor`", "no other agent type"]),
    "type without model": (
        '[letta]\nupstream = "rest"\n[[agent_types]]\nid = "tutor"',
        ["agent_types[0].model: ", "missing", "openai/gpt-4o-mini"],
    ),
    "model of a wrong type": ('[[agent_types]]\nid = "tutor"\nmodel = 4', ["agent_types[0].model: ", "`4`", "str"]),
    "agent that is no id": (
        '[[agent_types]]\nid = "ops"\nagent = "Bob"',
        ["agent_types[0].agent: ", "`Bob`", "agent-"],
    ),
    "agent with a system": (SHARED + 'system = "x"', ["agent_types[0].system: ", "expected nothing", "`agent`"]),
    "agent with a system file": (SHARED + 'system_file = "gateway.toml"', ["agent_types[0].system_file: ", "`agent`"]),
    "agent with tools": (SHARED + 'tools = ["x"]', ["agent_types[0].tools: ", "expected nothing", "`agent`"]),
    "agent with a memory": (SHARED + 'memory = {human = "x"}', ["agent_types[0].memory: ", "expected nothing"]),
    "agent with a model": (SHARED + 'model = "m"', ["agent_types[0].model: ", "expected nothing", "`agent`"]),
    "agent with an embedding": (SHARED + 'embedding = "m"', ["agent_types[0].embedding: ", "expected nothing"]),
    "tools as one word": (
        TYPE + 'tools = "web_search"',
        ["agent_types[0].tools: ", "`web_search`", "Expected `array`"],
    ),
    "tool of a wrong type": (
        TYPE + 'tools = ["web_search", 7]',
        ["agent_types[0].tools[1]: ", "`7`", "Expected `str`"],
    ),
    "memory as one text": (TYPE + 'memory = "x"', ["agent_types[0].memory: ", "`x`", "Expected `object`"]),
    "block of a wrong type": (TYPE + "memory = {human = 7}", ["agent_types[0].memory", "human", "7", "Expected `str`"]),
    "reasoning nobody knows": (
        TYPE + 'reasoning = "loud"',
        ["agent_types[0].reasoning: ", "`loud`", "think_tags", "reasoning_content", "hidden"],
    ),
    "system twice": (TYPE + 'system = "x"\nsystem_file = "x.md"', ["agent_types[0].system_file: ", "both"]),
    "system file not there": (
        TYPE + 'system_file = "no.md"',
        ["agent_types[0].system_file: ", "`no.md`", "No such file"],
    ),
    "system file with no name": (TYPE + 'system_file = "a\\u0000b"', ["agent_types[0].system_file: ", "readable"]),
    "keys as a table": (TYPE + f'[keys]\nname = "scripts"\nkey = "{SECRET}"', ["keys: ", "Expected `array`"]),
    "key without a table": (f'keys = ["{SECRET}"]\n' + TYPE, ["keys[0]: ", "Expected `object`"]),
    "key without name": (TYPE + f'[[keys]]\nkey = "{SECRET}"', ["keys[0]", "missing", "`name`"]),
    "key without value": (TYPE + '[[keys]]\nname = "scripts"', ["keys[0].key: ", "missing", "${NAME}"]),
    "key with an empty value": (TYPE + '[[keys]]\nname = "scripts"\nkey = ""', ["keys[0].key: ", "Expected a value"]),
    "key with a number": (TYPE + '[[keys]]\nname = "scripts"\nkey = 90210', ["keys[0].key: ", "Expected `str`"]),
    "digest of a value that is another key's": (
        TYPE + KEY + f'[[keys]]\nname = "other"\nsha256 = ["{sha256(SECRET)}"]',
        ["keys[1].sha256[0]: ", "nowhere else"],
    ),
    "digest that comes twice": (
        TYPE + f'[[keys]]\nname = "other"\nsha256 = ["{"a" * 64}", "{"b" * 64}", "{"A" * 64}"]',
        ["keys[0].sha256[2]: ", "nowhere else"],
    ),
    "key where its digest belongs": (
        TYPE + f'[[keys]]\nname = "other"\nsha256 = ["{SECRET}"]',
        ["keys[0].sha256[0].hash: ", "matching regex"],
    ),
    "digest with a field like no other": (
        TYPE + f'[[keys]]\nname = "other"\nsha256 = [{{hash = "{"a" * 64}", until = 2027-01-01}}]',
        ["keys[0].sha256[0]: ", "`until`", "expected one of hash, expires"],
    ),
    "expires that is no date": (TYPE + KEY + 'expires = "soon"', ["keys[0].expires: ", "`soon`", "Invalid RFC3339"]),
    "drain by both of its names": (
        "[server]\nshutdown_seconds = 5\ndrain_seconds = 5\n" + TYPE,
        ["server.shutdown_seconds: ", "drain_seconds"],
    ),
    "drain of less than nothing": (
        "[server]\ndrain_seconds = -1\n" + TYPE,
        ["server.drain_seconds: ", "`-1`", ">= 0"],
    ),
    "two keys of one name": (
        TYPE + KEY + '[[keys]]\nname = "scripts"\nkey = "other"',
        ["keys[1].name: ", "`scripts`", "no other key"],
    ),
    "two keys of one value": (
        TYPE + KEY + f'[[keys]]\nname = "other"\nkey = "{SECRET}"',
        ["keys[1].key: ", "no other key"],
    ),
    "tool activity nobody knows": (
        TYPE + KEY + 'tool_activity = "cards"',
        ["keys[0].tool_activity: ", "thoughts", "rich", "hidden"],
    ),
    "models nobody made": (TYPE + KEY + 'models = ["tutor", "cook"]', ["keys[0].models: ", "`cook`", "tutor"]),
    "models as one word": (TYPE + KEY + 'models = "tutor"', ["keys[0].models: ", "`tutor`", "Expected `array"]),
    "models as the word null": (TYPE + KEY + 'models = "null"', ["keys[0].models: ", "`null`", "Expected `array"]),
    "user_from as one word": (TYPE + KEY + 'user_from = "body:user"', ["keys[0].user_from: ", "Expected `array`"]),
    "user_from of nothing": (TYPE + KEY + "user_from = []", ["keys[0].user_from: ", "`[]`", ">= 1"]),
    "user_from of a wrong type": (TYPE + KEY + "user_from = [5]", ["keys[0].user_from[0]: ", "`5`", "Expected `str`"]),
    "user_from of nowhere": (
        TYPE + KEY + 'user_from = ["body:user", "cookie:id"]',
        ["keys[0].user_from[1]: ", "`cookie:id`", "header:NAME", "body:user", "body:safety_identifier"],
    ),
    "user_from of another field": (TYPE + KEY + 'user_from = ["body:name"]', ["keys[0].user_from[0]: ", "`body:name`"]),
    "user_from of no header": (TYPE + KEY + 'user_from = ["header:"]', ["keys[0].user_from[0]: ", "`header:`"]),
    "user_means nobody knows": (
        TYPE + KEY + 'user_means = "robot"',
        ["keys[0].user_means: ", "`robot`", "person", "conversation", "ignored"],
    ),
    "user of nothing": (TYPE + KEY + 'user = ""', ["keys[0].user: ", "``", ">= 1"]),
    "user too long": (TYPE + KEY + f'user = "{"u" * 513}"', ["keys[0].user: ", "<= 512"]),
    "default user of nothing": (TYPE + KEY + 'default_user = ""', ["keys[0].default_user: ", "``", ">= 1"]),
    "scope of nothing": (TYPE + KEY + 'scope = ""', ["keys[0].scope: ", "``", ">= 1"]),
    "key's reasoning nobody knows": (TYPE + KEY + 'reasoning = "loud"', ["keys[0].reasoning: ", "`loud`", "hidden"]),
    "every origin": (TYPE + KEY + 'origins = ["*"]', ["keys[0].origins[0]: ", "`*`", "://"]),
    "origin without a scheme": (TYPE + KEY + 'origins = ["a.org"]', ["keys[0].origins[0]: ", "`a.org`", "://"]),
    "origin of nothing": (TYPE + KEY + 'origins = ["null"]', ["keys[0].origins[0]: ", "`null`", "://"]),
    "origin of nobody": (TYPE + KEY + 'origins = ["app://"]', ["keys[0].origins[0]: ", "`app://`", "://"]),
    "origin with a path": (TYPE + KEY + 'origins = ["http://a.org/"]', ["keys[0].origins[0]: ", "`http://a.org/`"]),
    "unknown table": ("[sever]\nport = 80\n" + TYPE, ["unknown field `sever`", "did you mean `server`?"]),
    "unknown field of the server": ("[server]\nprot = 80\n" + TYPE, ["server: ", "`prot`", "did you mean `port`?"]),
    "unknown field of letta": (f'[letta]\napikey = "{SECRET}"\n' + TYPE, ["letta: ", "did you mean `api_key`?"]),
    "unknown field of a type": (TYPE + 'sytem = "x"', ["agent_types[0]: ", "`sytem`", "did you mean `system`?"]),
    "unknown field of a key": (
        TYPE + KEY + 'user_form = "x"',
        ["keys[0]: ", "`user_form`", "did you mean `user_from`?"],
    ),
    "field like no other": (
        TYPE + KEY + "zzz = 1",
        ["keys[0]: ", "`zzz`", "expected one of name, key, sha256, expires"],
    ),
    "conversations nobody knows": (
        TYPE + 'conversations = "many"',
        ["agent_types[0].conversations: ", "`many`", "chat", "single"],
    ),
    "history nobody knows": (TYPE + KEY + 'history = "half"', ["keys[0].history: ", "`half`", "full", "new"]),
    "message id header of nothing": (TYPE + KEY + 'message_id_header = ""', ["keys[0].message_id_header: ", "``"]),
    "message id header that is no name": (
        TYPE + KEY + 'parent_id_header = "X Parent"',
        ["keys[0].parent_id_header: ", "`X Parent`"],
    ),
    "queue of less than nobody": (
        "[chats]\nqueue_length = -1\n" + TYPE,
        ["chats.queue_length: ", "`-1`", ">= 0"],
    ),
    "no time in the queue": ("[chats]\nqueue_seconds = 0\n" + TYPE, ["chats.queue_seconds: ", "`0`", "> 0"]),
    "no time for temporary chats": ("[chats]\ntemporary_ttl = 0\n" + TYPE, ["chats.temporary_ttl: ", "`0`", "> 0"]),
    "no days for scratch chats": ("[chats]\nscratch_days = 0\n" + TYPE, ["chats.scratch_days: ", "`0`", "> 0"]),
    "no size of pictures": ("[images]\nmax_mb = 0\n" + TYPE, ["images.max_mb: ", "`0`", ">= 1"]),
    "pictures fetched from somewhere": (
        '[images]\nfetch = "https"\n' + TYPE,
        ["images.fetch: ", "`https`", "Expected `bool`"],
    ),
    "unknown field of the pictures": (
        "[images]\nfetches = true\n" + TYPE,
        ["images: ", "`fetches`", "did you mean `fetch`?"],
    ),
    "unknown field of the chats": (
        "[chats]\nscratch = 7\n" + TYPE,
        ["chats: ", "`scratch`", "did you mean `scratch_days`?"],
    ),
    "tasks answered by nobody we know": (
        '[tasks]\nanswer = "agent"\n' + TYPE,
        ["tasks.answer: ", "`agent`", "local", "model", "off"],
    ),
    "a model for tasks without a name": ('[tasks]\nanswer = "model"\n' + TYPE, ["tasks.model: ", "missing"]),
    "a model for tasks without an address": (
        '[tasks]\nbase_url = "http:///v1"\n' + TYPE,
        ["tasks.base_url: ", "`http:///v1`", "https://api.openai.com/v1"],
    ),
    "unknown field of the tasks": (f'[tasks]\nkey = "{SECRET}"\n' + TYPE, ["tasks: ", "unknown field `key`"]),
    "tasks' key empty": ('[tasks]\napi_key = ""\n' + TYPE, ["tasks.api_key: ", "Expected a value"]),
    "id of the model for tasks": ('[[agent_types]]\nid = "task"\nmodel = "m"', ["agent_types[0].id: ", "`task`"]),
    "task header that is no name": (TYPE + KEY + 'task_header = "X:Task"', ["keys[0].task_header: ", "`X:Task`"]),
    "user_from of no token": (TYPE + KEY + 'user_from = ["jwt:"]', ["keys[0].user_from[0]: ", "`jwt:`", "jwt:NAME"]),
    "tokens without their secret": (
        TYPE + KEY + 'user_from = ["jwt:X-User"]',
        ["keys[0].jwt_secret: ", "missing", "signed"],
    ),
    "a secret without tokens": (
        TYPE + KEY + f'jwt_secret = "{SECRET * 4}"',
        ["keys[0].jwt_secret: ", "`jwt:`", "user_from"],
    ),
    "a secret that is short": (
        TYPE + KEY + f'user_from = ["jwt:X-User"]\njwt_secret = "{SECRET}"',
        ["keys[0].jwt_secret: ", "32 bytes"],
    ),
    "plain headers beside tokens": (
        TYPE + KEY + f'user_from = ["jwt:X-User", "header:X-Id"]\njwt_secret = "{SECRET * 4}"',
        ["keys[0].user_from: ", "`header:`", "plain header"],
    ),
    "a limit of nothing": (
        TYPE + KEY + "user_limits = {streams = 0}",
        ["keys[0].user_limits.streams: ", "`0`", ">= 1"],
    ),
    "a limit in words": (
        TYPE + KEY + 'limits = {tokens_per_day = "many"}',
        ["keys[0].limits.tokens_per_day: ", "`many`", "Expected `int"],
    ),
    "a limit that nobody knows": (
        TYPE + KEY + "user_limits = {tokens_per_dey = 5}",
        ["keys[0].user_limits: ", "unknown field `tokens_per_dey`", "`tokens_per_day`"],
    ),
    "limits that are no table": (TYPE + KEY + "limits = 5", ["keys[0].limits: ", "`5`", "Expected `object`"]),
    "a budget and no place to keep it": (
        '[letta]\nbase_url = "ws://127.0.0.1:4500"\n' + TYPE + KEY + "user_limits = {tokens_per_month = 5}",
        ["server.state: missing", "directory", "keys[0], `scripts`"],
    ),
    "variable not set": (
        TYPE + '[[keys]]\nname = "a"\nkey = "${NOT_SET}"',
        ["keys[0].key: ", "`${NOT_SET}`", "not set"],
    ),
    "variable of a list not set": (TYPE + 'tools = ["a", "${NOT_SET}"]', ["agent_types[0].tools[1]: ", "`${NOT_SET}`"]),
    "variable of a table not set": ('[letta]\nbase_url = "${NOT_SET}"\n' + TYPE, ["letta.base_url: ", "environment"]),
    "not TOML": ("host: 127.0.0.1", ["not a TOML file", "line 1"]),
    "a field twice": (TYPE + 'model = "m"', ["not a TOML file"]),
}


@pytest.mark.parametrize(("text", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_names_file_field_value_and_what_was_expected_and_no_key(
    file: Path, text: str, words: list[str]
) -> None:
    message = mistake(file, text)

    assert message.startswith(f"{file}: ")
    assert [word for word in words if word not in message] == []
    assert SECRET not in message


def test_a_mistake_never_shows_a_key_of_a_wrong_type(file: Path) -> None:
    assert "90210" not in mistake(file, TYPE + '[[keys]]\nname = "scripts"\nkey = 90210')


def test_a_mistake_in_a_key_from_the_environment_does_not_show_it(file: Path) -> None:
    message = mistake(file, TYPE + '[keys]\nname = "alice"\nkey = "${ALICE_KEY}"')

    assert "alice-secret" not in message


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match="gateway.toml: cannot be read: No such file"):
        load(file, {})


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def test_a_file_that_is_not_utf_8_is_named(file: Path) -> None:
    file.write_bytes(TYPE.encode() + b'name = "\xff"')

    with pytest.raises(SettingsError, match=r"gateway.toml: not a TOML file: .*utf-8"):
        load(file, {})


def test_a_system_file_is_read_relative_to_the_configuration(file: Path) -> None:
    (file.parent / "prompts").mkdir()
    (file.parent / "prompts" / "tutor.md").write_text("Be patient: π is not 3.", encoding="utf-8")

    (tutor,) = load_text(file, TYPE + 'system_file = "prompts/tutor.md"').agent_types

    assert (tutor.system, tutor.system_file) == ("Be patient: π is not 3.", None)


def test_a_system_file_is_taken_as_it_is(file: Path) -> None:
    (file.parent / "tutor.md").write_text("Pay ${ALICE_KEY} to {user}.", encoding="utf-8")

    (tutor,) = load_text(file, TYPE + 'system_file = "tutor.md"').agent_types

    assert tutor.system == "Pay ${ALICE_KEY} to {user}."


def test_a_system_file_that_is_not_utf_8_is_a_mistake(file: Path) -> None:
    (file.parent / "tutor.md").write_bytes(b"\xff")

    message = mistake(file, TYPE + 'system_file = "tutor.md"')

    assert f"{file}: agent_types[0].system_file: `tutor.md`: expected a readable text file" in message


def test_a_variable_may_stand_in_any_value(file: Path) -> None:
    text = TYPE + 'name = "${NAME}, ${NAME}"\ntools = ["${TOOL}"]\nmemory = {human = "I am ${NAME}"}'
    file.write_text("[server]\nport = '${PORT}'\n" + text, encoding="utf-8")

    settings = load(file, {"NAME": "Ada", "TOOL": "web_search", "PORT": "8001"})

    (tutor,) = settings.agent_types
    assert settings.server.port == 8001
    assert (tutor.name, tutor.tools, tutor.blocks) == ("Ada, Ada", ("web_search",), {"human": "I am Ada"})


def test_a_variable_is_not_looked_for_in_the_value_of_another(file: Path) -> None:
    file.write_text(TYPE + 'name = "${ONE}"', encoding="utf-8")

    (tutor,) = load(file, {"ONE": "${TWO}", "TWO": "2"}).agent_types

    assert tutor.name == "${TWO}"


def test_other_dollars_and_braces_stay(file: Path) -> None:
    (tutor,) = load_text(file, TYPE + 'system = "$HOME {user} ${} {{x}} ${not-a-name}"').agent_types

    assert tutor.system == "$HOME {user} ${} {{x}} ${not-a-name}"


def test_a_user_source_may_be_any_header(file: Path) -> None:
    (key,) = load_text(file, TYPE + KEY + 'user_from = ["header:X-User", "body:safety_identifier"]').keys

    assert sources(key) == [("header", "x-user"), ("body", "safety_identifier")]


def test_fields_an_upstream_does_not_use_are_accepted(file: Path) -> None:
    (tutor,) = load_text(file, TYPE + 'embedding = "openai/text-embedding-3-small"').agent_types

    assert tutor.embedding == "openai/text-embedding-3-small"


def test_an_agent_that_exists_may_have_a_name_a_description_a_rendering_and_a_thread_for_each_user(file: Path) -> None:
    text = 'name = "Ops"\ndescription = "x"\nreasoning = "hidden"\nconversations = "single"'
    (ops,) = load_text(file, SHARED + text).agent_types

    assert (ops.agent, ops.title, ops.reasoning, ops.conversations) == ("agent-1", "Ops", "hidden", "single")


@pytest.mark.parametrize("field", ["queue_length", "grace_seconds", "resend_seconds"])
def test_nobody_need_be_waited_for_in_a_chat(file: Path, field: str) -> None:
    chats = load_text(file, f"[chats]\n{field} = 0\n" + TYPE).chats

    assert getattr(chats, field) == 0


@pytest.mark.parametrize(
    "place",
    ['[letta]\nupstream = "embedded"\n', '[server]\nstate = "/srv/used"\n[letta]\nbase_url = "ws://127.0.0.1:4500"\n'],
    ids=["with a Letta of its own", "with a directory"],
)
def test_a_budget_is_taken_where_there_is_a_place_to_keep_it(file: Path, place: str) -> None:
    limits = "limits = {tokens_per_month = 5_000_000}\nuser_limits = {requests_per_minute = 3, streams = 2}"
    (key,) = load_text(file, place + TYPE + KEY + limits).keys

    assert key.limits == Allowance(tokens_per_month=5_000_000)
    assert key.user_limits == Allowance(requests_per_minute=3, streams=2)
    assert key.is_limited


def test_limits_that_no_restart_need_outlive_need_no_place(file: Path) -> None:
    text = (
        '[letta]\nbase_url = "ws://127.0.0.1:4500"\n' + TYPE + KEY + "limits = {requests_per_minute = 3, streams = 2}"
    )

    assert load_text(file, text).server.state is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_any_address_may_be_bound_with_keys(file: Path, host: str) -> None:
    assert load_text(file, f'[server]\nhost = "{host}"\n' + TYPE + KEY).server.host == host


LOOPBACK = {"localhost": True, "127.0.0.1": True, "::1": True, "[::1]": True, "0.0.0.0": False, "evil.org": False}


@pytest.mark.parametrize(("host", "is_local"), LOOPBACK.items(), ids=LOOPBACK.keys())
def test_loopback_is_the_own_machine_only(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


def test_host_and_port_of_the_command_line_win(file: Path) -> None:
    file.write_text('[server]\nhost = "localhost"\nport = 1\n' + TYPE, encoding="utf-8")

    server = load(file, {}, Overrides(host="127.0.0.1", port=0)).server

    assert (server.host, server.port) == ("127.0.0.1", 0)


def test_host_and_port_of_the_command_line_need_no_server_table(file: Path) -> None:
    file.write_text(TYPE, encoding="utf-8")

    server = load(file, {}, Overrides(host="::1", port=9)).server

    assert (server.host, server.port) == ("::1", 9)


def test_a_host_of_the_command_line_is_no_way_around_the_keys(file: Path) -> None:
    file.write_text(TYPE, encoding="utf-8")

    with pytest.raises(SettingsError, match=r"server\.host: `0\.0\.0\.0`: expected a loopback address"):
        load(file, {}, Overrides(host="0.0.0.0"))


def test_a_port_of_the_command_line_is_checked(file: Path) -> None:
    file.write_text(TYPE, encoding="utf-8")

    with pytest.raises(SettingsError, match=r"server\.port: `70000`: Expected `int` <= 65535"):
        load(file, {}, Overrides(port=70_000))


def test_the_state_of_the_command_line_wins(file: Path) -> None:
    file.write_text('[letta]\nstate = "/srv/file"\n' + TYPE, encoding="utf-8")

    assert load(file, {}).letta.state == "/srv/file"
    assert load(file, {}, Overrides(state="/srv/line")).letta.state == "/srv/line"
    assert load(None, {}, Overrides(state="/srv/line")).letta.state == "/srv/line"


def test_the_chat_page_is_asked_for_by_file_or_command_line(file: Path) -> None:
    file.write_text("[server]\nchat_page = true\n" + TYPE, encoding="utf-8")

    assert load(file, {}).server.chat_page
    assert load(None, {}, Overrides(chat_page=True)).server.chat_page
    assert not load(None, {}).server.chat_page


@pytest.mark.parametrize("text", ["letta = 5\n", '[[letta]]\nstate = "x"\n', "server = 5\n"])
def test_a_table_that_is_none_is_named_whatever_the_command_line_says(file: Path, text: str) -> None:
    file.write_text(text + TYPE, encoding="utf-8")

    with pytest.raises(SettingsError, match="(letta|server): .*Expected `object`"):
        load(file, {}, Overrides(host="127.0.0.1", port=0, state="y"))


def test_the_environment_alone_makes_one_type_and_one_key() -> None:
    settings = load(
        None,
        {
            "LETTA_BASE_URL": "https://api.letta.com",
            "LETTA_API_KEY": "letta-secret",
            "GATEWAY_API_KEY": "gateway-secret",
            "GATEWAY_MODEL": "openai/gpt-4o-mini",
        },
    )

    assert settings.letta == Letta(base_url="https://api.letta.com", api_key=Secret("letta-secret"))
    assert [(t.id, t.model) for t in settings.agent_types] == [("letta", "openai/gpt-4o-mini")]
    assert [(key.key, key.default_user, sources(key)) for key in settings.keys] == [
        (Secret("gateway-secret"), "me", [("body", "user")])
    ]


UNSET: dict[str, dict[str, str]] = {
    "not set": {},
    "empty": dict.fromkeys(("GATEWAY_API_KEY", "GATEWAY_MODEL", "LETTA_BASE_URL", "LETTA_API_KEY"), ""),
}


@pytest.mark.parametrize("unset", UNSET.values(), ids=UNSET)
def test_the_environment_need_not_hold_anything(unset: dict[str, str]) -> None:
    settings = load(None, unset)

    assert settings.open
    assert (settings.letta, settings.letta.kind, settings.provider) == (Letta(), "embedded", None)
    assert [(agent_type.id, agent_type.model) for agent_type in settings.agent_types] == [("letta", None)]


def test_without_a_file_host_and_port_come_from_the_command_line() -> None:
    server = load(None, {"GATEWAY_MODEL": "m", "GATEWAY_API_KEY": "k"}, Overrides(host="0.0.0.0", port=80)).server

    assert (server.host, server.port) == ("0.0.0.0", 80)


# what the file says of Letta -> which one is meant, and where it answers
LETTAS: dict[str, tuple[str, UpstreamKind, str]] = {
    "nothing": ("", "embedded", ""),
    "embedded by name": ('upstream = "embedded"', "embedded", ""),
    "an HTTP address": ('base_url = "http://letta:8283"', "rest", "http://letta:8283"),
    "an HTTPS address": ('base_url = "https://api.letta.com"', "rest", "https://api.letta.com"),
    "REST by name": ('upstream = "rest"', "rest", "http://127.0.0.1:8283"),
    "REST by name and address": ('upstream = "rest"\nbase_url = "http://letta"', "rest", "http://letta"),
    "a WebSocket address": ('base_url = "ws://letta:4500"', "app-server", "ws://letta:4500"),
    "a safe WebSocket address": ('base_url = "wss://letta"', "app-server", "wss://letta"),
    "an App Server by name": ('upstream = "app-server"', "app-server", "ws://127.0.0.1:4500"),
}


@pytest.mark.parametrize(("letta", "kind", "address"), LETTAS.values(), ids=LETTAS)
def test_the_upstream_is_the_named_one_or_what_the_address_says(
    file: Path, letta: str, kind: UpstreamKind, address: str
) -> None:
    settings = load_text(file, f"[letta]\n{letta}\n" + TYPE)

    assert (settings.letta.kind, settings.letta.address) == (kind, address)


@pytest.mark.parametrize("kind", ["app-server", "embedded"])
def test_only_a_rest_upstream_needs_a_model_for_every_type(file: Path, kind: str) -> None:
    (tutor,) = load_text(file, f'[letta]\nupstream = "{kind}"\n[[agent_types]]\nid = "tutor"').agent_types

    assert tutor.model is None


def test_an_embedded_letta_may_be_told_where_to_keep_its_state(file: Path) -> None:
    assert load_text(file, '[letta]\nstate = "/srv/letta"\n' + TYPE).letta.state == "/srv/letta"


# The model's provider

OPENAI_URL, OLLAMA_URL = "http://127.0.0.1:4000/v1", "http://127.0.0.1:11434"
# Every variable that names a provider, those that go before others first -> the provider it names
PROVIDERS: dict[str, tuple[str, Provider]] = {
    "OPENAI_BASE_URL": (OPENAI_URL, Provider(id="openai-compatible", base_url=OPENAI_URL, api_key=Secret("key-1"))),
    "OPENAI_API_KEY": ("key-1", Provider(id="openai", api_key=Secret("key-1"))),
    "ANTHROPIC_API_KEY": ("key-2", Provider(id="anthropic", api_key=Secret("key-2"))),
    "OPENROUTER_API_KEY": ("key-3", Provider(id="openrouter", api_key=Secret("key-3"))),
    "OLLAMA_BASE_URL": (OLLAMA_URL, Provider(id="ollama", base_url=OLLAMA_URL)),
}
EVERY_PROVIDER = {name: value for name, (value, _) in PROVIDERS.items()}


@pytest.mark.parametrize("first", PROVIDERS)
def test_the_environment_names_the_provider_in_a_fixed_order(first: str) -> None:
    names = list(PROVIDERS)[list(PROVIDERS).index(first) :]

    assert load(None, {name: EVERY_PROVIDER[name] for name in names}).provider == PROVIDERS[first][1]


@pytest.mark.parametrize("first", PROVIDERS)
def test_an_empty_variable_names_no_provider(first: str) -> None:
    names = list(PROVIDERS)
    empty = dict.fromkeys(names[: names.index(first)], "")
    found = load(None, EVERY_PROVIDER | empty).provider

    assert found == PROVIDERS[first][1]


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}], ids=["not set", "empty"])
def test_a_server_that_speaks_as_openai_does_may_have_no_key(environ: dict[str, str]) -> None:
    provider = load(None, {"OPENAI_BASE_URL": OPENAI_URL, **environ}).provider

    assert provider == Provider(id="openai-compatible", base_url=OPENAI_URL)


@pytest.mark.parametrize(("said", "sees"), [("true", True), ("0", False), ("", None), (None, None)])
def test_the_environment_says_whether_a_compatible_provider_s_models_see(said: str | None, sees: bool | None) -> None:
    environ = {"OPENAI_BASE_URL": OPENAI_URL} | ({} if said is None else {"GATEWAY_VISION": said})

    assert load(None, environ).provider == Provider(id="openai-compatible", base_url=OPENAI_URL, vision=sees)


def test_what_the_environment_says_of_vision_is_for_a_compatible_provider_alone() -> None:
    assert load(None, {"ANTHROPIC_API_KEY": "key-2", "GATEWAY_VISION": "true"}).provider == Provider(
        id="anthropic", api_key=Secret("key-2")
    )


def test_a_word_about_vision_that_is_none_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match="GATEWAY_VISION: `perhaps`: expected `true` or `false`"):
        load(None, {"OPENAI_BASE_URL": OPENAI_URL, "GATEWAY_VISION": "perhaps"})


def test_the_environment_names_the_provider_of_a_file_that_names_none(file: Path) -> None:
    file.write_text(TYPE, encoding="utf-8")

    assert load(file, {"ANTHROPIC_API_KEY": "key-2"}).provider == PROVIDERS["ANTHROPIC_API_KEY"][1]


def test_the_provider_of_the_file_wins(file: Path) -> None:
    file.write_text('[provider]\nid = "openrouter"\napi_key = "${MINE}"\n' + TYPE, encoding="utf-8")

    assert load(file, {**EVERY_PROVIDER, "MINE": "key-9"}).provider == Provider(
        id="openrouter", api_key=Secret("key-9")
    )


@pytest.mark.parametrize("url", ["http://letta:8283", "ws://letta:4500"])
def test_a_letta_of_somebody_else_s_has_providers_of_its_own(url: str) -> None:
    environ = {"LETTA_BASE_URL": url, "GATEWAY_MODEL": "m", **EVERY_PROVIDER, "OPENAI_BASE_URL": "no address"}

    assert load(None, environ).provider is None


@pytest.mark.parametrize("kind", ["rest", "app-server"])
def test_a_provider_of_the_file_is_no_mistake_for_another_upstream(file: Path, kind: UpstreamKind) -> None:
    text = f'[provider]\nid = "openai"\n[letta]\nupstream = "{kind}"\n'

    assert load_text(file, text + TYPE).letta.kind == kind


@pytest.mark.parametrize("first", PROVIDERS)
def test_a_demo_needs_nothing_and_takes_the_provider_of_the_environment(first: str) -> None:
    demo = load_demo({first: EVERY_PROVIDER[first]}, Overrides(port=0, state="/srv/demo"), Secret("sk-demo"))

    assert (demo.letta.kind, demo.letta.state, demo.open) == ("embedded", "/srv/demo", False)
    assert [(key.key, key.default_user) for key in demo.keys] == [(Secret("sk-demo"), "me")]
    assert demo.server.chat_page
    assert demo.provider is not None
    assert demo.provider.id == PROVIDERS[first][1].id
    assert load_demo({}, Overrides(), Secret("sk-demo")).provider is None


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OLLAMA_BASE_URL"])
@pytest.mark.parametrize("value", [f"127.0.0.1/{SECRET}", f"ftp://{SECRET}", SECRET, "http://"])
def test_an_address_of_a_provider_that_is_none_is_named_and_not_shown(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {variable: value})

    assert str(caught.value).startswith(f"the environment: {variable}: expected an address such as `http://")
    assert value not in str(caught.value).replace("`http://127.0.0.1:11434/v1`", "")


def test_the_key_of_a_provider_never_shows() -> None:
    settings = load(None, EVERY_PROVIDER)

    assert "***" in repr(settings.provider)
    assert "key-1" not in f"{settings} {settings!r} {settings.provider}"


ENVIRONMENT_MISTAKES: dict[str, tuple[dict[str, str], list[str]]] = {
    "no model": ({"LETTA_BASE_URL": "http://letta:8283"}, ["agent_types[0].model", "missing", "openai/gpt-4o-mini"]),
    "an empty model": (
        {"LETTA_BASE_URL": "http://letta:8283", "GATEWAY_MODEL": ""},
        ["agent_types[0].model", "missing", "openai/gpt-4o-mini"],
    ),
    "an address without scheme": ({"GATEWAY_MODEL": "m", "LETTA_BASE_URL": "letta:8283"}, ["base_url", "`letta:8283`"]),
}


@pytest.mark.parametrize(("environ", "words"), ENVIRONMENT_MISTAKES.values(), ids=ENVIRONMENT_MISTAKES.keys())
def test_a_mistake_of_the_environment_is_named(environ: dict[str, str], words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, environ)

    message = str(caught.value)
    assert message.startswith("the environment: ")
    assert [word for word in words if word not in message] == []


def test_secrets_never_show(file: Path) -> None:
    settings = load_text(file, EXAMPLE)

    shown = f"{settings} {settings!r} {settings.keys} {settings.letta.api_key}"

    assert "***" in shown
    assert [secret for secret in ENVIRON.values() if secret in shown] == []


def test_secrets_cannot_be_written_out_by_accident(file: Path) -> None:
    with pytest.raises(TypeError):
        msgspec.json.encode(load_text(file, EXAMPLE))


def test_a_secret_is_its_value_to_those_who_ask() -> None:
    assert Secret("a").reveal() == "a"
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


@pytest.mark.parametrize(
    "origin",
    [
        *("http://localhost:3000", "https://page.example.org", "app://obsidian.md", "capacitor://localhost"),
        *(
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://2c127fa4-62c7-4e4f-90e5-472b45eecfdc",
        ),
        *("vscode-webview://1a2b", "tauri://localhost", "web+app.x-1://here"),
    ],
)
def test_a_key_may_be_used_from_any_scheme_and_host(file: Path, origin: str) -> None:
    file.write_text(TYPE + KEY + f'origins = ["{origin}"]')

    assert load(file, {}).keys[0].origins == (origin,)
