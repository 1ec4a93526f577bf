"""What a run of a V1 server is sent: answers to calls, messages, notes; and what of it is found again."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import NO_OUTPUT, Image, Message, ToolResult, image_of, message_of
from gateway.letta.notes import EXCHANGED, NO_ANSWER, REMINDER_END, SAID, WENT_ON
from gateway.letta.rest.input import to_input, to_prompt
from gateway.letta.rest.listing import ListedMessage, to_past
from gateway.letta.upstream import Instructions, Sending

Json = dict[str, Any]
HI = Message("user", "Hi", "gw1-1")
EXCHANGE = '{"tool":"weather","result":"sunny"}'
NOTE = EXCHANGED + EXCHANGE + REMINDER_END
SHOWN = image_of("image/png", "cmVk")


def text(said: str) -> Json:
    return {"type": "text", "text": said}


def approval(**told: Any) -> Json:
    return {"type": "approval", **told}


SUNNY = {"type": "tool", "tool_call_id": "c1", "tool_return": [text("sunny")], "status": "success"}
SHOWN_PART = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cmVk"}}
PICTURED = ToolResult("c1", "Look:\nWell?", message_of("user", ["Look:", SHOWN, "Well?"]).images)
HEARD = {"role": "user", "content": "Hi", "otid": "gw1-1"}
# what is sent -> what Letta gets
INPUTS: dict[str, tuple[Sending, list[Json]]] = {
    "a message": (Sending([HI]), [HEARD]),
    "a message without an id": (Sending([Message("user", "Hi")]), [{"role": "user", "content": "Hi"}]),
    "who says it": (Sending([Message("user", "Hi", "gw1-1", name="ada")]), [{**HEARD, "name": "ada"}]),
    "an answer given before": (
        Sending([HI, Message("assistant", "Hello")]),
        [HEARD, {"role": "assistant", "content": "Hello"}],
    ),
    "a result": (Sending([], results=(ToolResult("c1", "sunny"),)), [approval(approvals=[SUNNY])]),
    "an empty result": (
        Sending([], results=(ToolResult("c1", ""),)),
        [approval(approvals=[{**SUNNY, "tool_return": [text(NO_OUTPUT)]}])],
    ),
    "a result that shows a picture": (
        Sending([], results=(PICTURED,)),
        [approval(approvals=[{**SUNNY, "tool_return": [text("Look:"), SHOWN_PART, text("Well?")]}])],
    ),
    "an approval": (
        Sending([], approved=("c1",)),
        [approval(approvals=[approval(tool_call_id="c1", approve=True)])],
    ),
    "a denial": (
        Sending([], denied=("c1",)),
        [approval(approvals=[approval(tool_call_id="c1", approve=False, reason=NO_ANSWER)])],
    ),
    "a denial with a reason": (
        Sending([HI], denied=("c1",), reason="too late"),
        [approval(approvals=[approval(tool_call_id="c1", approve=False, reason="too late")]), HEARD],
    ),
    "a message beside a call that is not answered": (
        Sending([HI], denied=("c1",)),
        [approval(approvals=[approval(tool_call_id="c1", approve=False, reason=WENT_ON)]), HEARD],
    ),
    "all of them at once, before the message": (
        Sending([HI], denied=("c3",), results=(ToolResult("c1", "sunny"),), approved=("c2",)),
        [
            approval(
                approvals=[
                    SUNNY,
                    approval(tool_call_id="c2", approve=True),
                    approval(tool_call_id="c3", approve=False, reason=WENT_ON),
                ]
            ),
            HEARD,
        ],
    ),
    "what tools gave when it was answered before": (
        Sending([Message("user", "Hi", "gw1-1", exchanged=EXCHANGE)]),
        [{**HEARD, "content": [text(NOTE), text("Hi")]}],
    ),
    "nothing": (Sending([]), []),
}


@pytest.mark.parametrize(("sending", "sent"), INPUTS.values(), ids=INPUTS)
def test_a_run_begins_with_what_is_sent(sending: Sending, sent: list[Json]) -> None:
    assert to_input(sending) == sent


def test_a_client_s_text_is_added_to_the_agent_s_own_prompt() -> None:
    assert to_prompt(Instructions("Be kind", prompt="You teach.")) == (
        "You teach.\n\n<client_instructions>\nBe kind\n</client_instructions>"
    )
    assert to_prompt(Instructions(prompt="You teach.")) == ""


# What was sent is found again in the listing, without what the gateway put before it.

TEXTS = st.one_of(
    st.sampled_from([NOTE, EXCHANGED, REMINDER_END, SAID, f"{NOTE}Hi", "Hi"]),
    st.text(min_size=1).filter(lambda said: said.strip() != ""),
)


def found(message: Message) -> Message:
    (sent,) = to_input(Sending([message]))
    listed = ListedMessage("m-1", None, "user_message", sent["otid"], sent["content"])
    (kept,) = to_past([listed]).messages
    return kept


@given(TEXTS, st.sampled_from(["", EXCHANGE]), st.sampled_from(["alone", "before", "after"]))
def test_a_message_is_found_again_whatever_it_says(said: str, exchange: str, shown: str) -> None:
    pieces: dict[str, list[str | Image]] = {"alone": [said], "before": [SHOWN, said], "after": [said, SHOWN]}
    message = message_of("user", pieces[shown], "gw1-1")
    kept = found(msgspec.structs.replace(message, exchanged=exchange))

    assert (kept.content, kept.images, kept.exchanged) == (message.content, message.images, "")


def test_what_another_program_says_is_left_as_it_is() -> None:
    listed = ListedMessage("m-1", None, "user_message", "otid-7", [text(NOTE), text("Hi")])

    assert to_past([listed]).messages[0].content == f"{NOTE}\nHi"
