"""Names and texts that no test has used before."""

import uuid


def someone() -> str:
    """A user nobody has heard of."""
    return f"user-{uuid.uuid4().hex}"


def unheard(text: str = "") -> str:
    """`text` made one that nobody has said before."""
    return f"{text} {uuid.uuid4().hex}".strip()
