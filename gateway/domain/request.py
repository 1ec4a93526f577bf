"""The neutral request: what a client asks, whichever wire it came by. Performs no I/O.

Beside each message and option stands the name of its place in the request, so that errors of the core speak the wire's
words without knowing them.
"""

from typing import Any, Literal

from msgspec import Struct, field

from gateway.domain.errors import InvalidRequest
from gateway.domain.json_format import JsonFormat
from gateway.domain.messages import Image

NO_ARGUMENTS = "{}"


def no_parameters() -> dict[str, Any]:
    """The JSON Schema of a tool that takes nothing."""
    return {"type": "object", "properties": {}}


class ClientTool(Struct, frozen=True):
    """A tool that the client carries out: `ClientTool("weather", "Tells the weather.", {"type": "object", …})`."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=no_parameters)
    """The JSON Schema of its arguments."""
    strict: bool = False
    """True: a call whose arguments do not match is not told to the client."""
    place: str = "tools"
    """The place of its schema, in the wire's words."""


class ClientTools(Struct, frozen=True):
    """The client's tools that the agent may call: `ClientTools((ClientTool("weather"),), required=True)`."""

    tools: tuple[ClientTool, ...] = ()
    required: bool = False
    """True: one of them must be called."""
    parallel: bool = True
    """True: several may be called at once."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self.tools)


NO_TOOLS = ClientTools()


class Options(Struct, frozen=True, omit_defaults=True):
    """The model's settings for one run, in a Letta that can be told so; None is the agent's own.

    `Options(temperature=0.2, max_tokens=500)`
    """

    temperature: float | None = None
    max_tokens: int | None = None
    """The limit of one call of the model, in tokens."""
    format: dict[str, Any] | None = None
    """The form of an answer that is to be JSON, in OpenAI's words."""
    reasoning_effort: str | None = None
    """In OpenAI's words: `minimal`, `low`, `medium`, `high`, …"""


NO_OPTIONS = Options()


class ShownPicture(Struct, frozen=True):
    """A picture as a request shows it, not yet looked at: by an address, or as a data URL.

    `ShownPicture("https://example.org/cat.png", "messages[0].content[1].image_url.url")`
    """

    url: str
    place: str
    """The place of the `url`, in the wire's words: `messages[0].content[1].image_url.url`."""
    detail: str | None = None
    """How closely the model is to look at it: `low`, `high` or `auto`."""


class Unusable(Struct, frozen=True):
    """A piece of a message that no agent can be given. A new one is refused; in what was said before, `text` stands.

    `Unusable("messages[0].content[0]", "this gateway takes parts of the types `text` and `image_url` only")`
    """

    place: str
    problem: str
    text: str = ""
    is_picture: bool = False


Piece = str | Image | ShownPicture | Unusable
"""A piece of a message: text, a picture before or after it was looked at, or what cannot be used."""
RequestRole = Literal["system", "developer", "user", "assistant", "tool", "function"]
SYSTEM_ROLES = ("system", "developer")


class ToldCall(Struct, frozen=True):
    """A call of a client's tool that an earlier answer made, as it is told again: `ToldCall("call_1", "weather")`."""

    id: str
    name: str = ""
    arguments: str = ""
    """JSON."""


# Without the collector, for the reason of `Message`.
class RequestMessage(Struct, frozen=True, gc=False):
    """One message of a request: `RequestMessage("user", ("What is it?",), "messages[0]")`."""

    role: RequestRole
    pieces: tuple[Piece, ...]
    place: str
    """Its place, in the wire's words; its errors name it."""
    name: str = ""
    """The person who says it, among several of one chat."""
    calls: tuple[ToldCall, ...] = ()
    """Of an answer: the calls that it made."""
    call_id: str = ""
    """Of a result (`tool`): the call that it came of."""

    @property
    def text(self) -> str:
        """Its texts, a line each."""
        if len(self.pieces) == 1 and isinstance(self.pieces[0], str):
            return self.pieces[0]
        texts = (piece.text if isinstance(piece, Unusable) else piece for piece in self.pieces)
        return "\n".join(text for text in texts if isinstance(text, str) and text)


class ApprovalDecision(Struct, frozen=True):
    """A person's word on a call that waits for an approval: `ApprovalDecision("call_1", False, "too late")`.

    Chat Completions has no field for it: there a yes or a no is a message. Where a wire has ids of its own for what it
    asks, the call has such an id until somebody has read it.
    """

    call_id: str
    approved: bool
    reason: str = ""


class GoesOn(Struct, frozen=True):
    """The place where a request goes on, as the client names it: `GoesOn("resp_…", "previous_response_id")`."""

    id: str
    """The id of a response, of an item of one, or of a conversation; nobody has looked at it yet."""
    place: str
    """The name of the field that names it; its errors name it."""


class Request(Struct, frozen=True):
    """A request as the core takes it: what is asked of which kind of agent, and in which form the answer is wanted.

    `Request("tutor", (RequestMessage("user", ("Hi",), "messages[0]"),), stream=True)`
    """

    model: str
    messages: tuple[RequestMessage, ...]
    """At least one, but where nothing is new except `decisions`."""
    place: str = "messages"
    """The place of the messages, in the wire's words."""
    tools: ClientTools | InvalidRequest = NO_TOOLS
    """An error is raised only where the agent may call them."""
    json: JsonFormat | InvalidRequest | None = None
    """The form of an answer in words, if not any text; an error is raised for no background task."""
    options: Options = NO_OPTIONS
    decisions: tuple[ApprovalDecision, ...] = ()
    """The calls that it decides about by their ids."""
    stream: bool = False
    include_usage: bool = False
    hides_reasoning: bool = False
    """True: the client wants to see no thoughts."""
    users: dict[str, str] = {}
    """The users that the body names, by its fields."""
    metadata: dict[str, Any] = {}
    goes_on: GoesOn | None = None
    """The response or the conversation that it goes on with; None: its messages, or its headers, tell the chat."""
    keeps: bool = True
    """False: the chat is not to be kept, and can be gone on with by its messages only."""
    background: bool = False
    """True: the answer is given whether or not somebody waits for it."""
    call_id_field: str = "tool_call_id"
    """The field of a result that names its call, in the wire's words."""

    def check_calls(self) -> None:
        """Raises InvalidRequest for a result of a call that nobody made, and for calls at the end, without results.

        https://developers.openai.com/api/docs/guides/function-calling
        """
        made: set[str] = set()
        for message in self.messages:
            if message.calls:
                made |= {call.id for call in message.calls}
            # Where it goes on with something, the call may be told there.
            if message.role == "tool" and message.call_id not in made and not self.goes_on:
                place = f"{message.place}.{self.call_id_field}"
                raise InvalidRequest(f"`{place}`: no message before it makes a call of this id.", place)
        if self.messages and self.messages[-1].role == "assistant" and self.messages[-1].calls:
            raise InvalidRequest(f"`{self.place}` ends with tool calls: expected the result of each.", self.place)

    @property
    def wants_json(self) -> bool:
        return self.options.format is not None

    def checked_tools(self) -> ClientTools:
        """The client's tools. Raises InvalidRequest."""
        if isinstance(self.tools, InvalidRequest):
            raise self.tools
        return self.tools

    def checked_json(self) -> JsonFormat | None:
        """The form of the answer. Raises InvalidRequest."""
        if isinstance(self.json, InvalidRequest):
            raise self.json
        return self.json


class Resend(Struct, frozen=True):
    """How a request says that it was sent before: `Resend("order-7", tries=1)`."""

    idempotency_key: str = ""
    """The client's own name for the request; empty if it has none."""
    tries: int | None = None
    """How often the client says it has sent the request before; None if it does not count."""


NEVER_SENT = Resend()
