"""What the configuration says of tools and approvals: its fields, their defaults, and how a mistake is told."""

from pathlib import Path

import pytest

from gateway.configuration import SettingsError, load
from gateway.settings import AgentType, Chats, Key, Settings

TYPE = '[[agent_types]]\nid = "tutor"\nmodel = "m/one"\n'
SHARED = '[[agent_types]]\nid = "ops"\nagent = "agent-1"\n'
KEY = '[[keys]]\nname = "scripts"\nkey = "sk-scripts"\n'


def load_text(folder: Path, text: str) -> Settings:
    file = folder / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, {})


def test_tools_are_forwarded_and_people_asked_unless_told_otherwise(tmp_path: Path) -> None:
    settings = load_text(tmp_path, TYPE + SHARED + KEY)
    tutor, ops = settings.agent_types

    assert (tutor.client_tools, tutor.approvals, settings.keys[0].client_tools) == ("forward", None, None)
    assert (tutor.asks, ops.asks) == (True, False)
    assert settings.chats.tool_wait_seconds == Chats().tool_wait_seconds == 600


def test_every_field_is_read(tmp_path: Path) -> None:
    settings = load_text(
        tmp_path,
        "[chats]\ntool_wait_seconds = 30\n"
        + TYPE
        + 'client_tools = "ignore"\napprovals = "deny"\n'
        + SHARED
        + 'approvals = "ask"\n'
        + KEY
        + 'client_tools = "forward"\n',
    )
    tutor, ops = settings.agent_types

    assert (tutor.client_tools, tutor.approvals, tutor.asks, ops.asks) == ("ignore", "deny", False, True)
    assert settings.keys[0].client_tools == "forward"
    assert settings.chats.tool_wait_seconds == 30


# approvals, whether everybody shares the agent -> whether people are asked
ASKS: dict[str, tuple[AgentType, bool]] = {
    "an agent of one's own": (AgentType(id="a", model="m"), True),
    "one that is to deny": (AgentType(id="a", model="m", approvals="deny"), False),
    "everybody's": (AgentType(id="a", agent="agent-1"), False),
    "everybody's that is to ask": (AgentType(id="a", agent="agent-1", approvals="ask"), True),
}


@pytest.mark.parametrize(("agent_type", "asks"), ASKS.values(), ids=ASKS)
def test_people_are_asked_unless_all_of_them_share_the_agent(agent_type: AgentType, asks: bool) -> None:
    assert agent_type.asks is asks


def test_a_key_leaves_it_to_the_agent_type_whether_tools_are_forwarded() -> None:
    assert Key(name="a").client_tools is None


# the file -> the words its message must hold
MISTAKES: dict[str, tuple[str, list[str]]] = {
    "tools to be done what nobody knows": (
        TYPE + 'client_tools = "run"',
        ["agent_types[0].client_tools: ", "`run`", "forward", "ignore"],
    ),
    "tools switched on": (TYPE + "client_tools = true", ["agent_types[0].client_tools: ", "`True`"]),
    "approvals nobody knows": (TYPE + 'approvals = "allow"', ["agent_types[0].approvals: ", "`allow`", "ask", "deny"]),
    "approvals of nothing": (TYPE + 'approvals = ""', ["agent_types[0].approvals: ", "ask", "deny"]),
    "a key's tools nobody knows": (
        TYPE + KEY + 'client_tools = "never"',
        ["keys[0].client_tools: ", "`never`", "forward", "ignore"],
    ),
    "a key's approvals": (TYPE + KEY + 'approvals = "deny"', ["keys[0]: ", "`approvals`"]),
    "no time for tools": ("[chats]\ntool_wait_seconds = 0\n" + TYPE, ["chats.tool_wait_seconds: ", "`0`", "> 0"]),
    "less than no time for tools": (
        "[chats]\ntool_wait_seconds = -1\n" + TYPE,
        ["chats.tool_wait_seconds: ", "`-1`", "> 0"],
    ),
    "time for tools in words": (
        '[chats]\ntool_wait_seconds = "long"\n' + TYPE,
        ["chats.tool_wait_seconds: ", "`long`"],
    ),
    "a slip of the pen": (
        "[chats]\ntool_wait = 30\n" + TYPE,
        ["chats: ", "`tool_wait`", "did you mean `tool_wait_seconds`?"],
    ),
}


@pytest.mark.parametrize(("text", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_place_and_what_was_expected(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_text(tmp_path, text)

    assert not [word for word in words if word not in str(caught.value)]
