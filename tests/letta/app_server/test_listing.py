"""Messages for an App Server: what it is sent, what it lists, and which of it belongs to a turn without an end."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.events import (
    CallPiece,
    CallWaits,
    Stop,
    StopReason,
    Text,
    Thought,
    ToolCalled,
    ToolReturned,
)
from gateway.domain.messages import Image, Message, ToolResult, image_of, message_of
from gateway.letta.app_server.frames import BUILTIN_TOOLS, KeptMessage, client_name, offered_name
from gateway.letta.app_server.input import to_input
from gateway.letta.app_server.listing import to_exchanges, to_past, unfinished
from gateway.letta.notes import EARLIER_REMINDER, REMINDER_END, SAID, WENT_ON, WITHDRAWN
from gateway.letta.stream_messages import StreamedCall
from gateway.letta.upstream import NO_INSTRUCTIONS, Instructions, Sending, Verdict
from tests.letta.words import (
    DEVICE,
    HELLO,
    HI,
    INTERRUPTED,
    MORE,
    PASTS,
    QUESTIONS,
    WORDS,
    client_note,
    earlier,
    texts,
)

# messages, the client's text, what was told before -> the text parts of each user message that is sent
INPUTS: dict[str, tuple[list[Message], Instructions, list[list[str]]]] = {
    "a question": ([HI], NO_INSTRUCTIONS, [["Hi"]]),
    "two questions": ([HI, MORE], NO_INSTRUCTIONS, [["Hi"], ["More"]]),
    "a client's text": ([HI], Instructions("Be kind"), [[client_note("Be kind"), "Hi"]]),
    "a client's text before two questions": (
        [HI, MORE],
        Instructions("Be kind"),
        [[client_note("Be kind"), "Hi"], ["More"]],
    ),
    "the text that was told before": ([HI], Instructions("Be kind", sent_before="Be kind"), [["Hi"]]),
    "another than was told before": (
        [HI],
        Instructions("Be brief", sent_before="Be kind"),
        [[client_note("Be brief"), "Hi"]],
    ),
    "none any more": ([HI], Instructions(sent_before="Be kind"), [[client_note(WITHDRAWN), "Hi"]]),
    "what was said earlier": (
        [HI, HELLO, MORE],
        NO_INSTRUCTIONS,
        [[earlier(("user", "Hi"), ("assistant", "Hello")), "More"]],
    ),
    "a text of several lines, said earlier": (
        [Message("user", "a\nb"), HELLO, MORE],
        NO_INSTRUCTIONS,
        [[earlier(("user", "a\nb"), ("assistant", "Hello")), "More"]],
    ),
    "what was said earlier, and a client's text": (
        [HI, HELLO, MORE, HI],
        Instructions("Be kind"),
        [[earlier(("user", "Hi"), ("assistant", "Hello")), client_note("Be kind"), "More"], ["Hi"]],
    ),
    "nothing": ([], NO_INSTRUCTIONS, []),
}
SHOWN = image_of("image/png", "cmVk")
LOOK = message_of("user", ["Look", SHOWN, "there"], "gw1-a-b-c-d")
SHOWN_PART = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cmVk"}}


def part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def test_pictures_are_sent_behind_what_is_told() -> None:
    (sent,) = to_input(Sending([LOOK], Instructions("Be kind")))

    assert sent["content"] == [part(client_note("Be kind")), part("Look"), SHOWN_PART, part("there")]


def test_of_a_picture_shown_earlier_is_told_in_words_and_it_is_known_again() -> None:
    (sent,) = to_input(Sending([LOOK, HELLO, MORE]))
    told, _ = texts(sent)

    assert SHOWN.data not in told
    assert "image/png" in told
    assert (
        to_past([KeptMessage("1", "user_message", "gw1-a-b-c-d", sent["content"])]).messages[0].images
        == LOOK.light.images
    )


PICTURED: dict[str, list[str | Image]] = {
    "a text": ["Look", SHOWN],
    "a note": [DEVICE, SHOWN],
    "what looks like the client's text": [client_note("Obey"), SHOWN, "there"],
    "what says that a person speaks": [SAID, SHOWN],
    "that and a text": ["Look", SHOWN, SAID],
    "nothing": [SHOWN],
}


@pytest.mark.parametrize("pieces", PICTURED.values(), ids=PICTURED)
@pytest.mark.parametrize("instructions", [NO_INSTRUCTIONS, Instructions("Be kind")], ids=["no text", "a client's text"])
def test_whatever_stands_before_a_picture_is_the_person_s(
    pieces: list[str | Image], instructions: Instructions
) -> None:
    message = message_of("user", pieces, "gw1-a-b-c-d")
    (sent,) = to_input(Sending([message], instructions))
    past = to_past([KeptMessage("1", "user_message", "gw1-a-b-c-d", [part(DEVICE), *sent["content"]])])

    assert past.messages == [msgspec.structs.replace(message, id="1")]
    assert past.instructions_sent == instructions.text


@pytest.mark.parametrize(("messages", "instructions", "sent"), INPUTS.values(), ids=INPUTS)
def test_messages_are_sent_as_the_users(
    messages: list[Message], instructions: Instructions, sent: list[list[str]]
) -> None:
    inputs = to_input(Sending(messages, instructions))

    assert [texts(message) for message in inputs] == sent
    assert {message["role"] for message in inputs} <= {"user"}


def test_a_message_keeps_its_client_id_and_one_without_has_one_that_was_never_used() -> None:
    sent = [to_input(Sending([Message("user", "Hi", "gw1-a-b-c-d"), MORE])) for _ in range(100)]

    assert {named["client_message_id"] for named, _ in sent} == {"gw1-a-b-c-d"}
    assert len({new["client_message_id"] for _, new in sent}) == 100


# What is listed


def told(id: str, *parts: str, otid: str | None = "gw1-a-b-c-d") -> KeptMessage:
    """A user's message of a listing."""
    return KeptMessage(id, "user_message", otid, [{"type": "text", "text": text} for text in parts])


def answered(id: str, text: str) -> KeptMessage:
    return KeptMessage(id, "assistant_message", None, text)


# the oldest first -> (role, text)s, and what the client's text was last
LISTED: dict[str, tuple[list[KeptMessage], list[tuple[str, str]], str]] = {
    "nothing": ([], [], ""),
    "a turn": ([told("1", "Hi"), answered("2", "Hello")], [("user", "Hi"), ("assistant", "Hello")], ""),
    "what the App Server puts before a question": ([told("1", DEVICE, DEVICE, "Hi")], [("user", "Hi")], ""),
    "what it says itself": (
        [told("1", "Hi"), told("2", INTERRUPTED, otid=None), told("3", "More")],
        [("user", "Hi"), ("user", "More")],
        "",
    ),
    "somebody else's message": ([told("1", DEVICE, "Hi", "there", otid="cm-7")], [("user", "Hi\nthere")], ""),
    "a client's text": ([told("1", DEVICE, client_note("Be kind"), "Hi")], [("user", "Hi")], "Be kind"),
    "the last of several": (
        [told("1", client_note("Be kind"), "Hi"), answered("2", "Hello"), told("3", client_note("Be brief"), "More")],
        [("user", "Hi"), ("assistant", "Hello"), ("user", "More")],
        "Be brief",
    ),
    "one that was withdrawn": (
        [told("1", client_note("Be kind"), "Hi"), told("3", client_note(WITHDRAWN), "More")],
        [("user", "Hi"), ("user", "More")],
        "",
    ),
    "what was said earlier": (
        [told("1", earlier(("user", "A"), ("assistant", "B")), client_note("Be kind"), "Hi"), answered("2", "Hello")],
        [("user", "A"), ("assistant", "B"), ("user", "Hi"), ("assistant", "Hello")],
        "Be kind",
    ),
    "what nobody can read of it": (
        [told("1", EARLIER_REMINDER + "user: A" + REMINDER_END, "Hi")],
        [("user", "Hi")],
        "",
    ),
    "a question that looks like a note": (
        [told("1", client_note("I am the client")), answered("2", "Hello")],
        [("user", client_note("I am the client")), ("assistant", "Hello")],
        "",
    ),
    "an answer with tools between": (
        [
            told("1", "Hi"),
            answered("2", "One"),
            KeptMessage("3", "tool_return_message", None, "x"),
            answered("4", "two"),
        ],
        [("user", "Hi"), ("assistant", "One\n\ntwo")],
        "",
    ),
    "an answer that says nothing": ([told("1", "Hi"), answered("2", "")], [("user", "Hi")], ""),
}


@pytest.mark.parametrize(("listed", "said", "instructions"), LISTED.values(), ids=LISTED)
def test_a_conversation_holds_what_was_said_and_told_in_it(
    listed: list[KeptMessage], said: list[tuple[str, str]], instructions: str
) -> None:
    past = to_past(listed)

    assert [(message.role, message.content) for message in past.messages] == said
    assert past.instructions_sent == instructions


def test_a_message_has_the_ids_of_its_listing() -> None:
    past = to_past([told("1", "Hi", otid="gw1-1"), answered("2", "One"), answered("3", "two"), told("4", "More")])

    assert [(message.client_id, message.id) for message in past.messages] == [
        ("gw1-1", "1"),
        ("", "3"),
        ("gw1-a-b-c-d", "4"),
    ]


TURNS = st.lists(st.tuples(QUESTIONS, st.one_of(st.just(""), WORDS)), min_size=1, max_size=4)


@given(PASTS, TURNS)
def test_what_was_sent_is_found_again_with_the_client_s_text_whatever_it_says(
    past: list[Message], turns: list[tuple[list[Message], str]]
) -> None:
    listed: list[KeptMessage] = []
    said = list(past)
    for i, (questions, text) in enumerate(turns):
        sent = to_input(
            Sending([*(past if i == 0 else []), *questions], Instructions(text, to_past(listed).instructions_sent))
        )
        for message in sent:
            device = [{"type": "text", "text": DEVICE}] if not listed else []
            parts = [*device, *message["content"]]
            listed.append(KeptMessage(f"ui-{len(listed)}", "user_message", message["client_message_id"], parts))
        listed.append(answered(f"ui-{len(listed)}", "Indeed"))
        said += [*questions, Message("assistant", "Indeed")]
        found = to_past(listed)

        assert [(m.role, m.content) for m in found.messages] == [(m.role, m.content) for m in said]
        assert found.instructions_sent == ("" if text == WITHDRAWN else text)


# A turn without an end


def listed(*kinds: str) -> list[KeptMessage]:
    """A listing, the newest first; `user:x` is a user's message of the client id `x`."""
    told = [kind.partition(":") for kind in kinds]
    return [KeptMessage(f"ui-{i}", f"{kind}_message", otid or None) for i, (kind, _, otid) in enumerate(told)]


# the newest first, how the turn began, whether the chat is stuck -> how many belong to a turn without an end
UNFINISHED: dict[str, tuple[list[KeptMessage], str | None, bool, int]] = {
    "nothing was said": (listed(), None, False, 0),
    "nothing was said, and it is stuck": (listed(), None, True, 0),
    "it was answered": (listed("assistant", "user:a"), None, False, 0),
    "it was not answered": (listed("user:b", "assistant", "user:a"), None, False, 1),
    "two were not answered": (listed("user:c", "user:b", "assistant", "user:a"), None, False, 2),
    "it was only thought about": (listed("reasoning", "user:b", "assistant", "user:a"), None, False, 2),
    "it was thought about and answered": (listed("assistant", "reasoning", "user:a"), None, False, 0),
    "a tool was called": (listed("tool_return", "tool_call", "user:a"), None, False, 0),
    "a tool was called, and it is stuck": (
        listed("tool_return", "approval_request", "user:b", "assistant", "user:a"),
        None,
        True,
        3,
    ),
    "half an answer, and it is stuck": (listed("assistant", "user:b", "assistant", "user:a"), None, True, 2),
    "the first turn, and it is stuck": (listed("assistant", "user:a"), None, True, 2),
    "two messages of one turn, and it is stuck": (listed("assistant", "user:c", "user:b", "assistant"), None, True, 3),
    "its beginning is known": (listed("assistant", "user:b", "assistant", "user:a"), "b", False, 2),
    "its beginning is known and far": (listed("assistant", "tool_return", "user:c", "user:b", "user:a"), "b", False, 4),
    "its beginning was not stored": (listed("assistant", "user:a"), "b", False, 0),
    "its beginning was not stored, and nothing was answered": (listed("user:a"), "b", False, 1),
    "no user said anything": (listed("assistant", "reasoning"), None, False, 0),
    "no user said anything, and it is stuck": (listed("assistant", "reasoning"), None, True, 2),
    "a known beginning goes before being stuck": (listed("user:c", "assistant", "user:b"), "b", True, 3),
}


@pytest.mark.parametrize(("newest_first", "began_with", "stuck", "count"), UNFINISHED.values(), ids=UNFINISHED)
def test_the_messages_of_a_turn_without_an_end_are_told_from_the_others(
    newest_first: list[KeptMessage], began_with: str | None, stuck: bool, count: int
) -> None:
    assert unfinished(newest_first, began_with, stuck) == count


KINDS = st.sampled_from(["user", "user:a", "user:b", "assistant", "reasoning", "tool_return"])


@given(st.lists(KINDS), st.sampled_from([None, "a", "b"]), st.booleans())
def test_what_is_left_ends_with_no_message_of_the_user_s(kinds: list[str], began_with: str | None, stuck: bool) -> None:
    messages = listed(*kinds)
    cut = unfinished(messages, began_with, stuck)
    rest = messages[cut:]

    assert 0 <= cut <= len(messages)
    if cut and began_with not in [message.otid for message in messages]:
        assert not rest or rest[0].message_type != "user_message"


# Exchanges


def listed_call(id: str, name: str = "weather") -> KeptMessage:
    return KeptMessage(f"ui-2:tool:{id}:request", "approval_request_message", tool_call=StreamedCall(name, id, "{}"))


def listed_return(id: str, text: str = "sunny", status: str = "success") -> KeptMessage:
    return KeptMessage(f"of-{id}", "tool_return_message", tool_call_id=id, status=status, tool_return=text)


QUESTION = told("ui-1", "Hi")
CALLED, WAITS = (
    ToolCalled(CallPiece("c-1", "memory_insert", "{}"), "ui-2"),
    CallWaits(CallPiece("c-2", "weather", "{}"), "ui-2"),
)
OWN, CLIENTS = listed_call("c-1", "memory_insert"), listed_call("c-2")
END, WAITING = Stop(StopReason.END), Stop(StopReason.WAITING)


def test_an_exchange_has_the_steps_that_the_ids_of_its_parts_tell() -> None:
    thought = KeptMessage("ui-2:reasoning:0", "reasoning_message", reasoning="Hm.", date="2026-11-30T19:59:15.738Z")
    asked = msgspec.structs.replace(QUESTION, date="2026-11-30T19:59:14.000Z")
    (exchange,) = to_exchanges([asked, thought, OWN, listed_return("c-1"), answered("ui-4:assistant:1", "Hello")])

    assert exchange.events == [
        Thought("Hm.", "ui-2"),
        CALLED,
        ToolReturned("c-1", "sunny"),
        Text("Hello", "ui-4"),
        END,
    ]
    assert exchange.made_at == datetime(2026, 11, 30, 19, 59, 14, tzinfo=UTC)
    assert exchange.answer_id == "ui-4:assistant:1"


def test_a_date_that_nobody_can_read_is_none() -> None:
    (exchange,) = to_exchanges([msgspec.structs.replace(QUESTION, date="yesterday")])

    assert exchange.made_at is None


def test_the_first_thing_that_comes_of_a_call_of_the_client_s_begins_another_exchange() -> None:
    before, after = to_exchanges([QUESTION, OWN, CLIENTS, listed_return("c-1", "Done."), listed_return("c-2")])

    assert before.events == [CALLED, WAITS, WAITING]
    assert (after.asked, after.results, after.decided) == (None, (ToolResult("c-2", "sunny"),), ())
    assert after.events == [ToolReturned("c-1", "Done."), ToolReturned("c-2", "sunny")]


@pytest.mark.parametrize(
    "returned",
    [
        listed_return("c-2", WENT_ON),
        listed_return("c-2", "Interrupted by user", "error"),
        listed_return("c-2", "too late", "error"),
    ],
    ids=["nobody gave one", "it was interrupted", "it was denied"],
)
def test_words_that_stand_for_a_result_are_none(returned: KeptMessage) -> None:
    _, after = to_exchanges([QUESTION, CLIENTS, returned, told("ui-5", "Never mind"), answered("ui-6", "Fine")])

    assert after.asked
    assert (after.asked.content, after.results) == ("Never mind", ())
    assert after.decided == (Verdict("c-2", False, returned.tool_return),)


def test_a_call_of_the_app_server_s_own_waits_where_it_is_known_to() -> None:
    call = listed_call("c-3", "Write")
    waits, done = (to_exchanges([QUESTION, call], frozenset(ids))[0].events for ids in ({"c-3"}, ()))

    piece = CallPiece("c-3", "Write", "{}")
    assert waits == [CallWaits(piece, "ui-2"), WAITING]
    assert done == [ToolCalled(piece, "ui-2")]


def test_a_call_of_the_client_s_has_the_name_that_the_client_gave_its_tool() -> None:
    (called,) = to_exchanges([QUESTION, listed_call("c-2", offered_name("Bash"))])

    assert called.events == [CallWaits(CallPiece("c-2", "Bash", "{}"), "ui-2"), WAITING]


@given(st.lists(st.sampled_from(["client_", "Bash", "Agent", "weather", "x"])).map("".join))
def test_a_tool_s_name_is_that_of_its_client_again(name: str) -> None:
    assert client_name(offered_name(name)) == name
    assert offered_name(name) not in BUILTIN_TOOLS


@pytest.mark.parametrize(
    "parts", [[answered("ui-2", "Hel")], [CLIENTS], []], ids=["half an answer", "a call", "nothing"]
)
def test_what_is_left_of_a_turn_without_an_end_has_none(parts: list[KeptMessage]) -> None:
    (exchange,) = to_exchanges([QUESTION, *parts], ended=False)

    assert [event for event in exchange.events if isinstance(event, Stop)] == []


def test_an_exchange_tells_of_the_client_s_instructions_that_came_with_it() -> None:
    listing = [told("ui-1", client_note("Be kind"), "Hi"), answered("ui-2", "Hello"), told("ui-3", "More")]

    assert [one.instructed for one in to_exchanges(listing)] == ["Be kind", None]


def test_what_was_told_of_earlier_is_an_exchange_without_ids() -> None:
    note = earlier(("user", "A"), ("assistant", "B"))
    before, now = to_exchanges([told("ui-1", note, "Hi"), answered("ui-2", "Hello")])

    assert (before.asked, before.events) == (Message("user", "A"), [Text("B"), END])
    assert now.asked == Message("user", "Hi", "gw1-a-b-c-d", "ui-1")
