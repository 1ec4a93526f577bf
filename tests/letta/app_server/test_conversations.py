"""The conversations of an App Server: found, read, marked, and left as they are where a turn in them has no end."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from gateway.domain import errors
from gateway.domain.messages import Message
from gateway.letta.app_server import conversations, turns
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.upstream import Conversation, Past, Sending
from tests.following import following
from tests.letta.app_server.upstreams import run, upstream_of
from tests.letta.words import DEVICE, client_note
from tests.servers.fake_app_server import RUNTIME, FakeAppServer, Frame, status, word

pytestmark = pytest.mark.anyio

FAILED: Frame = {"type": "turn_finished", "stop_reason": "error", "error": "500: no"}
CANCELLED: Frame = {"type": "turn_finished", "stop_reason": "cancelled"}
MINE = Message("user", "Hi", "gw1-a-b-c-d")


@pytest.fixture
async def restarted(server: FakeAppServer) -> AsyncIterator[AppServerUpstream]:
    """The same App Server, of which another process knows nothing yet."""
    letta = upstream_of(server)
    yield letta
    await letta.aclose()


def asked(id: str, *parts: str, otid: str | None = "gw1-0-0-0-0") -> Frame:
    content = [{"type": "text", "text": part} for part in parts]
    return {"id": id, "message_type": "user_message", "otid": otid, "content": content, "date": "2026-11-23"}


def answered(id: str, text: str) -> Frame:
    return {"id": id, "message_type": "assistant_message", "content": [{"type": "text", "text": text}]}


def thought(id: str) -> Frame:
    return {"id": id, "message_type": "reasoning_message", "reasoning": "Hm."}


def listing(*oldest_first: Frame) -> Frame:
    return {"success": True, "messages": oldest_first[::-1]}


TURN = (asked("ui-1", DEVICE, "Hi", otid="gw1-1"), thought("ui-2:0"), answered("ui-2:1", "Hello"))
SAID = [Message("user", "Hi", "gw1-1", "ui-1"), Message("assistant", "Hello", id="ui-2:1")]


def without(*lost: Message) -> Past:
    """What was said, with a turn that has no end after it, of which is kept what was `lost`."""
    return Past(SAID, appendable=False, unfinished=[*lost])


# Finding


async def test_conversations_are_found_page_by_page_and_hidden_ones_too(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    kept = [{"id": f"conv-{i}", "summary": "gw1:0123", "agent_id": "agent-1", "tags": ["x"]} for i in range(250)]

    def page(request: Frame) -> Frame:
        query = request["query"]
        start = [one["id"] for one in kept].index(query["after"]) + 1 if "after" in query else 0
        return {"success": True, "conversations": kept[start : start + query["limit"]]}

    server.answers["conversation_list"] = page
    found = await upstream.find_conversations("agent-1", "gw1:0123")
    first, *_ = queries = [frame["query"] for frame in server.sent("conversation_list")]

    assert [one.id for one in found] == [one["id"] for one in kept]
    assert found[0] == Conversation("conv-0", summary="gw1:0123", agent_id="agent-1", tags=("x",))
    assert first == {"agent_id": "agent-1", "summary_search": "gw1:0123", "limit": 100, "include_hidden": True}
    assert [query.get("after") for query in queries] == [None, "conv-99", "conv-199"]


async def test_the_conversations_of_all_agents_are_found(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.answers["conversation_list"] = {"success": True, "conversations": []}

    assert await upstream.find_conversations(None, "gw1:") == []
    assert "agent_id" not in server.sent("conversation_list")[0]["query"]


async def test_a_server_that_knows_no_pages_is_asked_in_vain_once(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    kept = [{"id": f"conv-{i}"} for i in range(100)]
    server.answers["conversation_list"] = {"success": True, "conversations": kept}

    assert len(await upstream.find_conversations("agent-1", "gw1:0123")) == 100
    assert len(server.sent("conversation_list")) == 2


# Reading


async def test_a_conversation_is_read_as_it_is(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    again = asked("ui-3", client_note("Be kind"), "More", otid="gw1-3")
    server.answers["conversation_messages_list"] = listing(*TURN, again, answered("ui-4:1", "Sure"))
    past = await upstream.read_conversation("agent-1", Conversation("conv-1"))

    said = [*SAID, Message("user", "More", "gw1-3", "ui-3"), Message("assistant", "Sure", id="ui-4:1")]
    assert past == Past(said, instructions_sent="Be kind")
    (asked_for,) = server.sent("conversation_messages_list")
    assert (asked_for["conversation_id"], asked_for["query"]["order"]) == ("conv-1", "desc")


MORE = Message("user", "More", "gw1-0-0-0-0", "ui-3")
# what is listed after a turn -> what was said without an answer
UNANSWERED: dict[str, tuple[list[Frame], list[Message]]] = {
    "nothing came of it": ([asked("ui-3", "More")], [MORE]),
    "only thoughts did": ([asked("ui-3", "More"), thought("ui-4:0")], [MORE]),
    "two messages": (
        [asked("ui-3", "More"), asked("ui-4", "And more")],
        [MORE, Message("user", "And more", "gw1-0-0-0-0", "ui-4")],
    ),
}


@pytest.mark.parametrize(("listed", "lost"), UNANSWERED.values(), ids=UNANSWERED)
async def test_a_turn_that_nobody_answered_is_none_and_what_it_began_with_is_told(
    server: FakeAppServer, upstream: AppServerUpstream, listed: list[Frame], lost: list[Message]
) -> None:
    server.answers["conversation_messages_list"] = listing(*TURN, *listed)

    assert await upstream.read_conversation("agent-1", Conversation("conv-1")) == without(*lost)


async def test_after_a_turn_that_ended_well_the_next_can_be_added(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await run(upstream, Sending([MINE]))
    server.answers["conversation_messages_list"] = listing(*TURN)

    assert (await upstream.read_conversation("agent-1", Conversation("conv-1"))).appendable
    assert server.sent("conversation_update") == []


# Turns without an end


async def fail(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.turn = [word("Hel"), FAILED]
    with pytest.raises(errors.RunFailed):
        await run(upstream, Sending([MINE]))


async def be_cancelled_by_others(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.turn = [word("Hel"), CANCELLED]
    await run(upstream, Sending([MINE]))


async def cancel(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.turn = [word("Hel")]
    async with following(upstream, "agent-1", "conv-1", Sending([MINE])) as batches:
        await anext(batches)
        await upstream.cancel("agent-1", "conv-1")


Ending = Callable[[FakeAppServer, AppServerUpstream], Awaitable[None]]
ENDINGS: dict[str, Ending] = {"failed": fail, "cancelled by others": be_cancelled_by_others, "cancelled here": cancel}
HALF = (*TURN, asked("ui-3", "Hi", otid=MINE.client_id), answered("ui-4:1", "Hel"))
LOST = (msgspec.structs.replace(MINE, id="ui-3"), Message("assistant", "Hel", id="ui-4:1"))


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
async def test_a_turn_without_an_end_is_marked_and_no_part_of_the_past(
    server: FakeAppServer, upstream: AppServerUpstream, end: Ending
) -> None:
    await end(server, upstream)
    server.answers["conversation_messages_list"] = listing(*HALF)

    (marked,) = server.sent("conversation_update")
    assert (marked["conversation_id"], marked["body"]) == ("conv-1", {"tags": ["gw-unfinished:gw1-a-b-c-d"]})
    assert await upstream.read_conversation("agent-1", Conversation("conv-1")) == without(*LOST)


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
async def test_the_mark_of_a_turn_without_an_end_is_believed_after_a_restart(
    server: FakeAppServer, upstream: AppServerUpstream, restarted: AppServerUpstream, end: Ending
) -> None:
    await end(server, upstream)
    tags = server.sent("conversation_update")[0]["body"]["tags"]
    server.answers["conversation_list"] = {"success": True, "conversations": [{"id": "conv-1", "tags": tags}]}
    server.answers["conversation_messages_list"] = listing(*HALF)
    (found,) = await restarted.find_conversations("agent-1", "gw1:0123")

    assert await restarted.read_conversation("agent-1", found) == without(*LOST)


async def test_a_turn_without_an_end_that_was_never_stored_still_stands_in_the_way(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await cancel(server, upstream)
    server.answers["conversation_messages_list"] = listing(*TURN)

    assert await upstream.read_conversation("agent-1", Conversation("conv-1")) == Past(SAID, appendable=False)


async def test_a_turn_whose_connection_broke_is_no_part_of_the_past(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [word("Hel")]
    async with following(upstream, "agent-1", "conv-1", Sending([MINE])) as batches:
        await anext(batches)
        server.cut()
        with pytest.raises(errors.BrokenStream):
            _ = [batch async for batch in batches]
    await server.connected(2)
    server.answers["conversation_messages_list"] = listing(*HALF)

    assert await upstream.read_conversation("agent-1", Conversation("conv-1")) == without(*LOST)


async def test_after_being_stuck_nothing_of_the_turn_that_stands_in_the_way_is_part_of_the_past(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "STUCK_SECONDS", 0.01)
    server.answers["input"] = {"accepted": True, "disposition": "queued"}
    server.before["input"] = [status("WAITING_ON_INPUT") | {"runtime": RUNTIME}]
    server.turn = []
    with pytest.raises(errors.Stuck):
        await run(upstream, Sending([MINE]))
    server.answers["conversation_messages_list"] = listing(
        *TURN,
        asked("ui-3", "Somebody's"),
        answered("ui-4:1", "Hel"),
        {"id": "ui-5", "message_type": "tool_call_message"},
    )

    assert await upstream.read_conversation("agent-1", Conversation("conv-1")) == without(
        Message("user", "Somebody's", "gw1-0-0-0-0", "ui-3"), Message("assistant", "Hel", id="ui-4:1")
    )


async def test_a_mark_that_cannot_be_set_changes_nothing_of_the_failure(
    server: FakeAppServer, upstream: AppServerUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["conversation_update"] = {"success": False, "error": "secret"}
    with caplog.at_level(logging.WARNING):
        await fail(server, upstream)
    server.answers["conversation_messages_list"] = listing(*HALF)

    assert [record.getMessage() for record in caplog.records] == [
        "a turn without an end could not be marked: conversation_update was refused"
    ]
    assert not (await upstream.read_conversation("agent-1", Conversation("conv-1"))).appendable


async def test_only_so_many_turns_without_an_end_are_remembered(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "KEPT_UNFINISHED", 2)
    server.turn = [CANCELLED]
    for name in ("conv-1", "conv-2", "conv-3"):
        await run(upstream, Sending([MINE]), conversation=name)
    server.answers["conversation_messages_list"] = listing(*TURN)
    pasts = [await upstream.read_conversation("agent-1", Conversation(f"conv-{i}")) for i in (1, 2, 3)]

    assert [past.appendable for past in pasts] == [True, False, False]


# Marking


@pytest.mark.parametrize("hidden", [True, False])
async def test_a_conversation_is_renamed_and_hidden_or_shown(
    server: FakeAppServer, upstream: AppServerUpstream, hidden: bool
) -> None:
    await upstream.rename_conversation("conv-1", "gw1:0123", hidden)

    assert [(frame["conversation_id"], frame["body"]) for frame in server.sent("conversation_update")] == [
        ("conv-1", {"summary": "gw1:0123", "hidden": hidden})
    ]
