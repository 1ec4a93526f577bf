"""Approvals that are asked for by items of a response, and answered by items of the next request."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai import NotFoundError, OpenAI

from tests.contract.deeds import Deed
from tests.contract.scene import Scene
from tests.contract.table import needs
from tests.gateways import PROGRAMS, sdk
from tests.integration.words import someone, unheard
from tests.programs import Talk

BY_ITEMS = msgspec.structs.replace(PROGRAMS, approval_form="items", tool_activity="mcp_calls")


@pytest.fixture(scope="module")
def url(scene: Scene) -> Iterator[str]:
    with scene.another(types=(scene.side.writer,), keys=(BY_ITEMS,)) as base_url:
        yield base_url


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with sdk(url) as client:
        yield client


@pytest.fixture
def user() -> str:
    return someone()


@pytest.fixture
def deed(scene: Scene, tmp_path: Path, client: OpenAI, user: str) -> Deed:
    deed = scene.side.deed(tmp_path / unheard())
    deed.prepare(Talk(client, user=user, tools=[]))
    return deed


def answers(asked: Any, approve: bool, **more: Any) -> list[Any]:
    """The items that answer all requests of a response."""
    requests = [item for item in asked.output if item.type == "mcp_approval_request"]
    assert len(requests) == 1
    kind = "mcp_approval_response"
    return [{"type": kind, "approval_request_id": one.id, "approve": approve, **more} for one in requests]


@needs("approvals")
@pytest.mark.parametrize("by", ["previous response", "item"])
def test_what_is_allowed_by_an_item_is_done_once(client: OpenAI, user: str, deed: Deed, scene: Scene, by: str) -> None:
    asked = client.responses.create(model="tutor", input=deed.script, user=user)
    assert not deed.done
    before = {"previous_response_id": asked.id} if by == "previous response" else {}
    done = client.responses.create(model="tutor", input=answers(asked, True), user=user, **before)  # type: ignore[call-overload]
    assert deed.done
    more = unheard("and more")
    client.responses.create(model="tutor", input=more, user=user, previous_response_id=done.id)

    assert (asked.status, done.status) == ("completed", "completed")
    assert [role for role, _ in scene.heard(more)][-4:] == ["assistant", "tool", "assistant", "user"]


@needs("approvals")
def test_what_is_not_allowed_by_an_item_is_not_done(client: OpenAI, user: str, deed: Deed) -> None:
    asked, reason = client.responses.create(model="tutor", input=deed.script, user=user), unheard("too late")
    said = answers(asked, False, reason=reason)
    denied = client.responses.create(model="tutor", input=said, user=user, previous_response_id=asked.id)

    assert not deed.done
    assert reason in denied.output_text


@needs("approvals")
def test_an_item_that_asked_somebody_else_is_not_there(client: OpenAI, user: str, deed: Deed) -> None:
    asked = client.responses.create(model="tutor", input=deed.script, user=user)
    with pytest.raises(NotFoundError):
        client.responses.create(model="tutor", input=answers(asked, True), user=someone())

    assert not deed.done
