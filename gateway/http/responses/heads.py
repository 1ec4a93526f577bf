"""`ResponseHead`: all by which a run is shown as a response, by whoever asks for that, in this process or another."""

import msgspec
from msgspec import Struct

from gateway.domain.look import Look
from gateway.domain.places import ResponsePlace
from gateway.domain.request import ClientTool, ClientTools
from gateway.wires.narrator import Narrator
from gateway.wires.responses.echo import Echo
from gateway.wires.responses.encoder import ResponsesEncoder
from gateway.wires.responses.ids import Seal
from gateway.wires.responses.response import Framing, event_frame


class ResponseHead(Struct, frozen=True):
    """The place of a response, what it repeats of its request, and how its run is shown."""

    place: ResponsePlace
    created_at: int
    echo: Echo
    look: Look
    tools: tuple[str, ...] = ()
    """The names of the client's tools."""
    parallel: bool = True
    """True: several of them may be called at once."""

    def to_bytes(self) -> bytes:
        return _encode(self)

    def narrator(self) -> Narrator:
        tools = ClientTools(tuple(map(ClientTool, self.tools)), parallel=self.parallel)
        return Narrator(self.look, tools, awaits_usage=True)

    def encoder(self, seal: Seal, framing: Framing = event_frame, after: int = -1) -> ResponsesEncoder:
        return ResponsesEncoder(
            ids=seal.ids_of(self.place),
            created_at=self.created_at,
            echo=self.echo,
            tool_activity=self.look.tool_activity,
            framing=framing,
            after=after,
        )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ResponseHead).decode


def head_of(data: bytes) -> ResponseHead:
    """The head that `to_bytes` has made these bytes of. Raises msgspec.MsgspecError."""
    return _decode(data)
