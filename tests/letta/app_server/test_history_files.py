"""The past of a chat in an App Server: forked, or put into the files of a conversation that nobody has begun."""

import json
import logging
from contextlib import nullcontext

import pytest

from gateway.domain import errors
from gateway.domain.messages import Message
from gateway.letta.app_server.history_format import FORMAT, folder_of
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.upstream import Conversation, Fork
from tests.letta.words import HELLO, HI, MORE, texts
from tests.servers.fake_app_server import FakeAppServer, Frame

pytestmark = pytest.mark.anyio

BACKEND = "/srv/backend"
DEVICE: Frame = {
    "type": "update_device_status",
    "device_status": {"memory_directory": f"{BACKEND}/memfs/agent-1/memory"},
}
SESSION = {"type": "session", "version": 3, "id": "conv-1", "timestamp": "2026-11-21T12:00:00.123Z", "cwd": "/"}
SURE = Message("assistant", "Sure")
PATH = [HI, HELLO, MORE, SURE]
FORK = Fork("conv-0", "ui-2", 2)


class Files:
    """The files of a conversation that `server` makes or forks: `said` is in it, as roles and texts."""

    def __init__(self, server: FakeAppServer, manifest: Frame | None, *said: tuple[str, str]) -> None:
        self._folder = str(folder_of(BACKEND, "conv-1"))
        ids = [f"ui-msg-{i}" for i in range(len(said))]
        entries: list[Frame] = [SESSION] if said else []
        for i, (role, text) in enumerate(said):
            message = {"id": ids[i], "role": role, "content": [{"type": "text", "text": text}]}
            entries.append({"type": "message", "id": f"{i}", "parentId": f"{i - 1}" if i else None, "message": message})
        self.content = {"conversation.json": json.dumps({"id": "conv-1", "agent_id": "agent-1"} | _context(ids))}
        if manifest is not None:
            self.content["manifest.json"] = json.dumps(manifest)
        if entries:
            self.content["messages.jsonl"] = "".join(json.dumps(entry) + "\n" for entry in entries)
        made = {"id": "conv-1", "summary": "s"}
        server.answers |= {
            "conversation_create": {"success": True, "conversation": made},
            "conversation_fork": {"success": True, "conversation": {"id": "conv-1"}},
            "conversation_messages_list": self._list,
            "read_file": self._read,
            "write_file": self._write,
        }
        server.before["runtime_start"] = [DEVICE]

    @property
    def said(self) -> list[tuple[str, str]]:
        """Roles and texts of what is in it."""
        _, *entries = [json.loads(line) for line in self.content["messages.jsonl"].split("\n") if line]
        return [(entry["message"]["role"], texts(entry["message"])[0]) for entry in entries]

    @property
    def in_context(self) -> list[str]:
        ids: list[str] = json.loads(self.content["conversation.json"])["in_context_message_ids"]
        return ids

    def _list(self, request: Frame) -> Frame:
        newest_first = [{"id": "ui", "content": text} for _, text in self.said[::-1]]
        return {"success": True, "messages": newest_first[: request["query"]["limit"]]}

    def _read(self, request: Frame) -> Frame:
        found = self.content.get(request["path"].removeprefix(f"{self._folder}/"))
        return {"success": found is not None, "content": found, "error": None if found else "secret"}

    def _write(self, request: Frame) -> Frame:
        self.content[request["path"].removeprefix(f"{self._folder}/")] = request["content"]
        return {"success": True}


def _context(ids: list[str]) -> Frame:
    return {"in_context_message_ids": ids}


# Put into a fresh conversation


async def test_a_past_is_put_into_the_files_of_a_fresh_conversation(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    files = Files(server, FORMAT)
    made = await upstream.create_conversation("agent-1", "s", [HI, HELLO])

    assert made == Conversation("conv-1", summary="s", seeded=2)
    assert server.sent("conversation_create")[0]["body"] == {"agent_id": "agent-1", "summary": "s"}
    assert files.said == [("user", "Hi"), ("assistant", "Hello")]
    assert files.in_context == ["ui-imp-0", "ui-imp-1"]
    assert upstream.capabilities.forks


async def test_what_came_after_the_last_answer_can_be_sent_and_is_not_put_there(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    files = Files(server, FORMAT)
    made = await upstream.create_conversation("agent-1", "s", [HI, HELLO, MORE, HI])

    assert made.seeded == 2
    assert files.said == [("user", "Hi"), ("assistant", "Hello")]


@pytest.mark.parametrize("path", [[], [HI], [HI, MORE]], ids=["nothing", "a question", "two questions"])
async def test_without_answers_nothing_is_written(
    server: FakeAppServer, upstream: AppServerUpstream, path: list[Message]
) -> None:
    Files(server, FORMAT)
    made = await upstream.create_conversation("agent-1", "s", path)

    assert made.seeded == 0
    assert server.sent("read_file", "write_file", "runtime_start") == []


# Forked


async def test_the_beginning_of_another_conversation_is_forked(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    Files(server, FORMAT, ("user", "Hi"), ("assistant", "Hello"))
    made = await upstream.create_conversation("agent-1", "s", [HI, HELLO, MORE], FORK)

    assert (made.id, made.seeded) == ("conv-1", 2)
    (fork,), (update,) = server.sent("conversation_fork"), server.sent("conversation_update")
    assert (fork["conversation_id"], fork["body"]) == ("conv-0", {"message_id": "ui-2", "hidden": True})
    assert update["conversation_id"] == "conv-1"
    assert update["body"] == {"summary": "s", "hidden": False, "tags": []}
    assert server.sent("conversation_create", "write_file") == []


async def test_the_rest_of_a_past_is_put_after_what_a_fork_holds(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    files = Files(server, FORMAT, ("user", "Hi"), ("assistant", "Hello"))
    made = await upstream.create_conversation("agent-1", "s", [*PATH, HI], FORK)

    assert made.seeded == 4
    assert files.said == [("user", "Hi"), ("assistant", "Hello"), ("user", "More"), ("assistant", "Sure")]
    assert files.in_context == ["ui-msg-0", "ui-msg-1", "ui-imp-0", "ui-imp-1"]


async def test_a_fork_whose_files_are_unknown_has_heard_what_was_forked(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    Files(server, {**FORMAT, "schema_version": 3}, ("user", "Hi"), ("assistant", "Hello"))

    assert (await upstream.create_conversation("agent-1", "s", PATH, FORK)).seeded == 2
    assert server.sent("write_file") == []


GONE: dict[str, tuple[str, type[errors.UpstreamError]]] = {
    "the conversation": ("Conversation conv-0 not found", errors.NotFound),
    "the message": ("Message ui-2 not found", errors.NotFound),
    "something else": ("secret", errors.Refused),
}


@pytest.mark.parametrize(("error", "kind"), GONE.values(), ids=GONE)
async def test_what_cannot_be_forked_is_told(
    server: FakeAppServer, upstream: AppServerUpstream, error: str, kind: type[errors.UpstreamError]
) -> None:
    server.answers["conversation_fork"] = {"success": False, "error": error}

    with pytest.raises(kind):
        await upstream.create_conversation("agent-1", "s", PATH, FORK)


# Where files cannot be written


UNKNOWN: dict[str, Frame | None] = {
    "a later version": {**FORMAT, "schema_version": 3},
    "another format": {},
    "no manifest": None,
}


@pytest.mark.parametrize("manifest", UNKNOWN.values(), ids=UNKNOWN)
async def test_in_an_unknown_format_nothing_is_written_and_nothing_is_heard(
    server: FakeAppServer, upstream: AppServerUpstream, caplog: pytest.LogCaptureFixture, manifest: Frame | None
) -> None:
    Files(server, manifest)
    with caplog.at_level(logging.WARNING):
        made = await upstream.create_conversation("agent-1", "s", [HI, HELLO])

    assert made.seeded == 0
    assert server.sent("write_file") == []
    assert "a chat's past is told in words" in caplog.text


KEPT_OTHERWISE: dict[str, tuple[str, str]] = {
    "nothing": ("conversation.json", ""),
    "no JSON": ("conversation.json", "garbage"),
    "no names": ("conversation.json", "{}"),
    "a list": ("conversation.json", "[]"),
    "no list of messages": ("conversation.json", '{"id": "c", "agent_id": "a", "in_context_message_ids": null}'),
    "messages that are no JSON": ("messages.jsonl", f"{json.dumps(SESSION)}\ngarbage\n"),
    "messages without ids": ("messages.jsonl", f"{json.dumps(SESSION)}\n{{}}\n"),
}


@pytest.mark.parametrize(("name", "content"), KEPT_OTHERWISE.values(), ids=KEPT_OTHERWISE)
async def test_a_conversation_that_is_kept_otherwise_is_left_as_it_is(
    server: FakeAppServer, upstream: AppServerUpstream, name: str, content: str
) -> None:
    files = Files(server, FORMAT)
    files.content[name] = content

    assert (await upstream.create_conversation("agent-1", "s", [HI, HELLO])).seeded == 0
    assert server.sent("write_file") == []


@pytest.mark.parametrize("directory", [None, "/srv/elsewhere"], ids=["not told", "laid out otherwise"])
async def test_without_a_place_for_the_files_nothing_is_heard(
    server: FakeAppServer, upstream: AppServerUpstream, directory: str | None
) -> None:
    Files(server, FORMAT)
    server.before["runtime_start"] = [{**DEVICE, "device_status": {"memory_directory": directory}}]

    assert (await upstream.create_conversation("agent-1", "s", [HI, HELLO])).seeded == 0
    assert server.sent("read_file", "write_file") == []


async def test_the_place_of_the_files_is_asked_for_once(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    for _ in range(2):
        Files(server, FORMAT)
        await upstream.create_conversation("agent-1", "s", [HI, HELLO])

    assert len(server.sent("runtime_start")) == 1


async def test_a_past_that_is_written_and_not_found_again_is_an_error(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    Files(server, FORMAT)
    server.answers["conversation_messages_list"] = {"success": True, "messages": []}

    with pytest.raises(errors.Refused, match="not found again"):
        await upstream.create_conversation("agent-1", "s", [HI, HELLO])


# Deleted


async def test_of_a_deleted_conversation_nothing_is_left_and_nobody_finds_it(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    files = Files(server, FORMAT, ("user", "Hi"), ("assistant", "Hello"))
    await upstream.delete_conversation("agent-1", "conv-1")
    (update,) = server.sent("conversation_update")

    assert (files.said, files.in_context) == ([], [])
    assert (update["conversation_id"], update["body"]["hidden"], update["body"]["archived"]) == ("conv-1", True, True)
    assert "gw1:" not in update["body"]["summary"]


async def test_half_a_surrogate_pair_in_its_files_keeps_none_of_it(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    files = Files(server, FORMAT, ("user", "Hi \ud83d"), ("assistant", "Hello \ud83d"))
    files.content["conversation.json"] = files.content["conversation.json"].replace("agent-1", r"agent-1\ud83d")
    await upstream.delete_conversation("agent-1", "conv-1")

    assert (files.said, files.in_context) == ([], [])


async def test_a_conversation_that_cannot_be_emptied_is_put_out_of_sight(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    Files(server, None, ("user", "Hi"))
    await upstream.delete_conversation("agent-1", "conv-1")

    assert server.sent("write_file") == []
    assert [frame["body"]["hidden"] for frame in server.sent("conversation_update")] == [True]


# Room


FULL = "ENOSPC: no space left on device, write"
# What becomes of each writing of a file -> whether there is room
ROOM: dict[str, tuple[list[str | None], type[errors.UpstreamError] | None]] = {
    "there is": ([None, None], None),
    "there is none": ([FULL], errors.NoSpace),
    "there is none for a tool": (["No space left on device: /srv"], errors.NoSpace),
    "there is too little": ([None, FULL], errors.NoSpace),
    "the file of a full disk is in the way": (["old_string is empty", None, None], None),
    "it is in the way, and the disk is still full": (["old_string is empty", FULL], errors.NoSpace),
    "nobody can tell": (["nobody writes here"] * 2, errors.Refused),
}


@pytest.mark.parametrize(("answers", "failure"), ROOM.values(), ids=ROOM)
async def test_whether_an_app_server_can_write_is_seen_by_writing(
    server: FakeAppServer, upstream: AppServerUpstream, answers: list[str | None], failure: type[Exception] | None
) -> None:
    Files(server, FORMAT)
    left = list(answers)

    def write(_: Frame) -> Frame:
        error = left.pop(0)
        return {"success": False, "error": error} if error else {"success": True}

    server.answers["write_file"] = write
    with pytest.raises(failure) if failure else nullcontext():
        await upstream._conversations.files.check_room("agent-1")

    assert left == []
