"""The agents' calls of the gateway's memory tools: what becomes of the memory, and what the agent is told."""

import asyncio
from typing import Any

import pytest

from gateway.letta.app_server import memory_tools
from gateway.letta.app_server.upstream import AppServerUpstream
from tests.letta.app_server.upstreams import upstream_of
from tests.servers.fake_app_server import Answer, FakeAppServer

pytestmark = pytest.mark.anyio

RUNTIME = {"agent_id": "agent-1", "conversation_id": "conv-1"}


async def call(
    server: FakeAppServer, id: str, tool: str = "memory_insert", agent: str | None = "agent-1", **arguments: Any
) -> None:
    """Have an agent call a tool of the gateway's."""
    runtime = {"agent_id": agent, "conversation_id": "conv-1"}
    arguments = {"label": "human", "new_string": "Ada", **arguments}
    frame = {"type": "external_tool_call_request", "request_id": id, "tool_name": tool, "input": arguments}
    await server.send(frame | {"tool_call_id": f"call-{id}", "runtime": runtime})


async def told(server: FakeAppServer, times: int = 1) -> tuple[str, bool]:
    """What an agent is told of its call, and whether it failed."""
    result = (await server.arrived("external_tool_call_response", times))["result"]
    return result["content"][0]["text"], result["is_error"]


HEAD = "---\nname: human\n---\n"


def block(content: str = HEAD) -> dict[str, Answer]:
    """The answers of a server where every memory has this block."""
    return dict.fromkeys(("read_memory_file", "memory_file_at_ref"), {"success": True, "content": content})


DONE = ("Done: your memory has been changed.", False)


async def test_a_memory_is_changed(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.answers |= block(HEAD + "I know:")
    await upstream.list_models()
    await call(server, "1")

    assert await told(server) == DONE
    assert server.sent("external_tool_call_response")[0]["request_id"] == "1"
    (written,) = server.sent("write_memory_file")
    assert (written["agent_id"], written["path"], written["content"]) == ("agent-1", "human.md", HEAD + "I know:\nAda")


# the call, what the App Server answers -> a part of what the agent is told
FAILED_CALLS: dict[str, tuple[dict[str, Any], dict[str, Answer], str]] = {
    "a tool nobody knows": ({"tool": "alpha"}, {}, "There is no tool alpha here."),
    "a call of nobody's": ({"agent": None}, {}, "There is no tool memory_insert here."),
    "a file that is no block": ({"label": ".git/config"}, {}, "`label` must be the name"),
    "a block that is not there": (
        {},
        {"read_memory_file": {"success": False, "error": "secret"}},
        "You have no such memory block.",
    ),
    "a link out of the memory": (
        {},
        {"memory_file_at_ref": {"success": True, "content": "/etc/passwd"}},
        "You have no such memory block.",
    ),
    "a file that was never committed": (
        {},
        {"memory_file_at_ref": {"success": False, "error": "secret"}},
        "You have no such memory block.",
    ),
    "a text that is not there": ({"tool": "memory_replace", "old_string": "Bob"}, {}, "it does 0 times"),
    "a write that fails": (
        {},
        {"write_memory_file": {"success": False, "error": "secret"}},
        "Nothing was remembered.",
    ),
}


@pytest.mark.parametrize(("asked", "answers", "words"), FAILED_CALLS.values(), ids=FAILED_CALLS)
async def test_a_call_that_fails_is_answered_honestly(
    server: FakeAppServer, upstream: AppServerUpstream, asked: dict[str, Any], answers: dict[str, Answer], words: str
) -> None:
    server.answers |= {**block(), **answers}
    await upstream.list_models()
    await call(server, "1", **asked)
    text, failed = await told(server)

    assert failed
    assert words in text
    assert "secret" not in text
    assert len(server.sent("write_memory_file")) == ("write_memory_file" in answers)


AFTER_A_REFUSAL: dict[str, tuple[str | None, list[str]]] = {
    "what was refused is taken back": (None, [HEAD]),
    "what another gateway wrote meanwhile is left": (HEAD + "theirs", []),
}


@pytest.mark.parametrize(("theirs", "put_back"), AFTER_A_REFUSAL.values(), ids=AFTER_A_REFUSAL)
async def test_a_refused_write_leaves_nothing_in_the_file(
    server: FakeAppServer, upstream: AppServerUpstream, theirs: str | None, put_back: list[str]
) -> None:
    file = HEAD

    def refuse(frame: dict[str, Any]) -> dict[str, Any]:
        nonlocal file
        # An App Server keeps in the file what it does not commit.
        file = theirs or frame["content"]
        return {"success": False, "error": "secret"}

    read: dict[str, Answer] = {"read_memory_file": lambda _: {"success": True, "content": file}}
    server.answers |= {**block(), **read, "write_memory_file": refuse}
    await upstream.list_models()
    await call(server, "1")
    assert (await told(server))[1]

    assert [frame["content"] for frame in server.sent("write_memory_file")][1:] == put_back


LOCKED = (
    "write_memory_file: fatal: Unable to create '/state/memory/.git/index.lock': File exists.\n\nAnother git process"
)


@pytest.mark.parametrize("times", [1, 3])
async def test_a_memory_that_is_locked_for_a_moment_is_written_to_once_it_is_not(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(memory_tools, "LOCKED_SECONDS", (0.0,) * 3)
    locked = [{"success": False, "error": LOCKED}] * times
    server.answers |= {**block(), "write_memory_file": lambda _: locked.pop() if locked else {"success": True}}
    await upstream.list_models()
    await call(server, "1")

    assert await told(server) == DONE
    assert {frame["content"] for frame in server.sent("write_memory_file")} == {HEAD + "Ada"}
    assert len(server.sent("write_memory_file")) == times + 1


async def test_a_memory_that_stays_locked_is_told_as_a_failure(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_tools, "LOCKED_SECONDS", (0.0,) * 3)
    server.answers |= {**block(), "write_memory_file": {"success": False, "error": LOCKED}}
    await upstream.list_models()
    await call(server, "1")
    text, failed = await told(server)

    assert failed
    assert "Nothing was remembered" in text
    assert ".git" not in text


async def test_a_write_without_an_answer_is_told_as_a_failure(server: FakeAppServer) -> None:
    server.answers |= {**block(), "write_memory_file": None}
    upstream = upstream_of(server, request_seconds=0.05)
    await upstream.check_agent("agent-1")
    await call(server, "1")

    text, failed = await told(server)
    assert failed
    assert "Nothing was remembered" in text
    await upstream.aclose()


async def test_calls_of_one_agent_never_overlap_and_those_of_two_do(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.answers |= {**block(), "read_memory_file": None, "write_memory_file": None}
    await upstream.list_models()
    for id, agent in (("1", "agent-1"), ("2", "agent-1"), ("3", "agent-2")):
        await call(server, id, agent=agent)
    await server.arrived("read_memory_file", 2)
    assert _work(server) == ["read agent-1", "read agent-2"]

    await server.reply(server.sent("read_memory_file")[0], success=True, content=HEAD)
    await server.reply(await server.arrived("write_memory_file"), success=True)
    assert await told(server) == DONE
    await server.reply(await server.arrived("read_memory_file", 3), success=True, content=HEAD + "Ada")
    await server.reply(server.sent("read_memory_file")[1], success=True, content=HEAD)
    for number in (2, 3):
        await server.reply(await server.arrived("write_memory_file", number), success=True)
    await server.arrived("external_tool_call_response", 3)

    mine = [step for step in _work(server) if step.endswith("agent-1")]
    assert mine == ["read agent-1", "write agent-1"] * 2


def _work(server: FakeAppServer) -> list[str]:
    sent = server.sent("read_memory_file", "write_memory_file")
    return [f"{frame['type'].partition('_')[0]} {frame['agent_id']}" for frame in sent]


async def test_closing_waits_for_the_calls_under_way(server: FakeAppServer) -> None:
    upstream = upstream_of(server)
    server.answers |= {**block(), "read_memory_file": None}
    await upstream.list_models()
    await call(server, "1")
    reading = await server.arrived("read_memory_file")
    closing = asyncio.create_task(upstream.aclose())
    await server.reply(reading, success=True, content=HEAD)
    await closing

    assert await told(server) == DONE
