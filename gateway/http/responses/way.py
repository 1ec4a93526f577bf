"""The way of a request for a response: to the place that it names, in a chat of the caller's own."""

import secrets
import time
from collections.abc import Callable

import msgspec

from gateway.domain.errors import InvalidRequest, NotFoundHere
from gateway.domain.look import Look
from gateway.domain.places import ResponsePlace, short_digest
from gateway.domain.request import ApprovalDecision
from gateway.domain.request import Request as NeutralRequest
from gateway.frontends.reading import takes_items
from gateway.http.asking import Asker
from gateway.http.responses.heads import ResponseHead
from gateway.turns.chats.exact import After
from gateway.turns.chats.markers import SCRATCH, user_digest
from gateway.turns.places import (
    answering,
    is_for,
    is_of_its_user,
    is_open_to,
    marker_at,
    marker_given,
    place_of,
    placed,
)
from gateway.turns.turn import Turn
from gateway.wires.responses.echo import Echo


class ResponsesWay:
    """The `Way` of one request for a response."""

    def __init__(
        self, asker: Asker, asked: NeutralRequest, echo: Echo, recall: Callable[[ResponsePlace], str] | None = None
    ) -> None:
        """`recall` gives the marker of the chat of a response that is not kept; empty if nobody remembers that."""
        self._asker, self._asked, self._echo = asker, asked, echo
        self._recall = recall
        self._seal = asker.parts.seal
        self._id, self._made_at = secrets.token_hex(8), int(time.time())

    def place(self, turn: Turn) -> Turn:
        """The turn at the place that its request names. Raises NotFoundHere for one that is none of the caller's."""
        turn, asked_at = self._decided(turn)
        goes_on, keeps = self._asked.goes_on, self._asked.keeps
        if goes_on is None and asked_at:
            placed_there = self._behind(turn, asked_at, "input", "item")
        elif goes_on is None:
            placed_there = placed(turn, self._id, keeps, made_at=self._made_at)
        elif goes_on.place == "conversation":
            conversation = self._seal.read_conversation(goes_on.id)
            if not conversation or not is_open_to(conversation, turn.caller.user):
                raise NotFoundHere("conversation", goes_on.place)
            agent_type, user = turn.agent_type, turn.caller.user
            if conversation.agent_type not in ("", short_digest(agent_type.id)):
                raise InvalidRequest("`conversation` was made for another model.", "conversation")
            marker = marker_given(conversation, user.scope, agent_type.id, user_digest(user.scope, user.id))
            placed_there = placed(turn, self._id, keeps, marker, made_at=self._made_at)
        elif goes_on.place == "previous_response_id":
            found = self._seal.read_response(goes_on.id)
            placed_there = self._behind(turn, found, goes_on.place, "previous_response")
        else:
            item = self._seal.read_item(goes_on.id)
            placed_there = self._behind(turn, item and item[0], goes_on.place, "item")
        if self._asked.background and placed_there.temporary and placed_there.scratch:
            raise InvalidRequest(
                "`background` needs a chat that is kept: nobody could ask for the response.", "background"
            )
        outlives = self._asked.background or self._asker.key.on_disconnect == "finish"
        return msgspec.structs.replace(placed_there, outlives=outlives)

    def _behind(self, turn: Turn, place: ResponsePlace | None, named_by: str, what: str) -> Turn:
        """The turn behind a response, which a field of the request names. Raises NotFoundHere."""
        marker, keeps = self._marker_at(place, turn), self._asked.keeps
        if not place or not marker:
            raise NotFoundHere(what, named_by)
        if marker.startswith(SCRATCH):
            # The chat is not kept, whatever is asked of what follows in it.
            keeps, self._echo = False, msgspec.structs.replace(self._echo, store=False)
        after = After(place.turn, place.made_at, named_by)
        return placed(turn, self._id, keeps, marker, after, self._made_at)

    def _marker_at(self, place: ResponsePlace | None, turn: Turn) -> str:
        """The marker of the chat of a response; empty if whoever asks may not go on with that."""
        if not place or not is_of_its_user(place, turn):
            return ""
        if is_for(place, turn):
            return marker_at(place)
        return self._recall(place) if self._recall else ""

    def _decided(self, turn: Turn) -> tuple[Turn, ResponsePlace | None]:
        """The turn with the ids of the calls that it decides about, in place of those of the items that asked.

        And the place of the response that has asked. Raises NotFoundHere for items that asked somebody else.
        """
        place, decisions = None, []
        for decision in turn.asked.decisions:
            asked = self._seal.read_approval(decision.call_id)
            if not asked or not self._marker_at(asked[0], turn):
                raise NotFoundHere("item", "input")
            place = asked[0]
            decisions.append(ApprovalDecision(asked[1], decision.approved, decision.reason))
        path = msgspec.structs.replace(turn.asked, decisions=tuple(decisions))
        return msgspec.structs.replace(turn, asked=path), place

    async def find(self, turn: Turn) -> Turn:
        """The turn, which is a part of another one where it brings nothing but answers to calls of that."""
        if not turn.asked.only_results or turn.agent_type.conversations == "single":
            return turn
        after = turn.after
        question = (after.turn, after.made_at) if after else await self._asker.parts.runs.question_of(turn)
        return answering(turn, question) if question[0] else turn

    def look(self, turn: Turn) -> Look:
        key, chat = self._asker.key, self._asked
        reasoning, activity = key.reasoning or turn.agent_type.reasoning, key.tool_activity
        if chat.hides_reasoning or reasoning == "hidden":
            reasoning = "hidden"
        if activity == "rich" and not (turn.caller.frontend and takes_items(key, self._asker.named)):
            activity = "thoughts"
        return Look(reasoning, activity, key.approval_form)

    def head(self, turn: Turn, look: Look) -> bytes:
        names = tuple(tool.name for tool in turn.tools.tools)
        # A temporary chat without an id is found by its history alone, whatever was asked.
        is_kept = turn.keeps and not (turn.temporary and turn.scratch)
        echo = self._echo if is_kept else msgspec.structs.replace(self._echo, store=False)
        head = ResponseHead(place_of(turn), self._made_at, echo, look, names, turn.tools.parallel)
        return head.to_bytes()
