"""Responses made of what Letta keeps of their turns, once their runs are forgotten here. Performs no I/O.

deploy/guide/responses.md has the table of what they are without.
"""

import msgspec

from gateway.domain.errors import Stopped, UpstreamError
from gateway.domain.events import CallWaits
from gateway.domain.look import Look
from gateway.domain.places import ResponsePlace
from gateway.http.errors import to_gateway_error
from gateway.http.responses.heads import ResponseHead
from gateway.settings import AgentType
from gateway.turns.exchanged import KeptTurn
from gateway.wires.responses.echo import Echo
from gateway.wires.responses.ids import Seal
from gateway.wires.responses.response import ResponseFailure, ResponseResource

LOST = ResponseFailure("server_error", "This response was lost before its agent had heard of it.")


def rebuilt(
    place: ResponsePlace, agent_type: AgentType, look: Look, seal: Seal, kept: KeptTurn, runs: bool
) -> ResponseResource:
    """The response at a place, of the turn that is kept; `runs`: its run is under way."""
    head = ResponseHead(place, place.made_at, Echo(agent_type.id), look, _clients(kept, agent_type))
    narrator, encoder = head.narrator(), head.encoder(seal)
    encoder.begin()
    try:
        for event in kept.events:
            encoder.encode(narrator.receive(event))
        if kept.is_over:
            encoder.encode(narrator.receive_eof())
            encoder.end()
            return encoder.response
    except Stopped:
        runs = False
    except UpstreamError as error:
        encoder.encode(narrator.receive_error())
        encoder.fail(to_gateway_error(error))
        return encoder.response
    if not runs:
        encoder.encode(narrator.receive_error())
    return msgspec.structs.replace(encoder.response, status="in_progress" if runs else "cancelled")


def lost(place: ResponsePlace, agent_type: AgentType, look: Look, seal: Seal) -> ResponseResource:
    """The response at a place of which Letta has nothing: the gateway ended before it could ask."""
    head = ResponseHead(place, place.made_at, Echo(agent_type.id), look)
    return msgspec.structs.replace(head.encoder(seal).response, status="failed", error=LOST)


def _clients(kept: KeptTurn, agent_type: AgentType) -> tuple[str, ...]:
    """The names of the tools that were the client's: any other that waits is the agent type's."""
    calls = [event.call for event in kept.events if isinstance(event, CallWaits) and event.call.name]
    return tuple({call.name for call in calls if call.name not in agent_type.tools})
