"""The prompts of background tasks: how a frontend's request is known by its words. Performs no I/O."""

from msgspec import Struct

from gateway.domain.request import Request, RequestRole


class Worded(Struct, frozen=True):
    """The words of a request that may be a prompt."""

    roles: list[RequestRole]
    """Of its first messages."""
    text: str
    """From its first word: all of one message, or of a user's after a system message; else of the first one."""
    streams: bool


class Prompt(Struct, frozen=True):
    """The prompt of a task, by its words: `Prompt("n8n", TITLE, "Generate a concise", "Only output", URL)`."""

    client: str
    kind: str
    begins: str
    """How the message of `role` begins. Never with `### Task:` alone: a real turn with a file begins so."""
    holds: str
    """A text that stands in it, or in the message after it, besides."""
    source: str
    role: RequestRole = "user"
    in_json: bool = True
    streams: bool = True
    """True: it may be asked for as a stream."""
    alone: bool = True
    """True: nothing comes with it; else messages of the chat that it is about follow."""

    def fits(self, request: Worded) -> bool:
        """True for a request that is this prompt, and nothing more where it comes `alone`."""
        if not self.alone:
            return request.roles[:1] == [self.role] and request.text.startswith(self.begins)
        whole = ["user"] if self.role == "user" else ["system", "user"]
        if request.roles not in (whole, ["system"]) or (request.streams and not self.streams):
            return False
        return request.text.startswith(self.begins) and self.holds in request.text


def worded(request: Request) -> Worded:
    """The words of a request: each message is read once, whatever the number of prompts."""
    roles = [message.role for message in request.messages[:3]]
    told = request.messages if roles in (["user"], ["system"], ["system", "user"]) else request.messages[:1]
    text = "\n".join(message.text for message in told)
    return Worded(roles, text.lstrip(), request.stream)
