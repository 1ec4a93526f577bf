"""The names under which Letta keeps what is a user's: tags of agents, markers of conversations. Performs no I/O.

Users and chats appear in them as hashes only: others can list tags and summaries.
"""

from hashlib import sha256

GATEWAY_TAG = "gateway"
SCRATCH_MARKER = "gw1:scratch"


def _digest(*parts: str) -> str:
    """32 hex digits of SHA-256 over the parts, each after its length: ("a", "bc") and ("ab", "c") differ."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return sha256(b"".join(b"%d:%b" % (len(part), part) for part in encoded)).hexdigest()[:32]


def agent_tags(type_id: str, scope: str, user: str) -> tuple[str, str, str]:
    """The tags that together name the agent of one user of one type."""
    return GATEWAY_TAG, type_id, f"gw-user:{_digest(scope, user)}"


def conversation_marker(type_id: str, scope: str, user: str, chat: str) -> str:
    """The marker of one chat; `gw1` is its version."""
    return f"gw1:{_digest(scope, user, type_id, chat)}"


def summary_with(marker: str) -> str:
    """A conversation's summary that carries `marker`."""
    return f"Letta Gateway {marker}"


def has_marker(summary: str | None, marker: str) -> bool:
    """Whether `summary` ends with exactly this marker, whatever stands before it."""
    return (summary or "").rpartition(" ")[2] == marker
