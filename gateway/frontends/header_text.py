"""How the bytes of a header are read as text: as UTF-8. Earlier versions read latin-1. Performs no I/O.

Whoever was met under the old reading is known by it in Letta.
"""


def as_text(value: bytes) -> str:
    """The text that a client means: UTF-8, as they all send it, or latin-1 where it is not.

    What looks like UTF-8 that was taken for latin-1 stays as an earlier version read it: read again, it would be the
    name under which somebody else was met.
    """
    before = value.decode("latin-1")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return before
    return before if _is_misread(text) else text


def former(text: str) -> str:
    """How an earlier version read a header that is read as `text` now; empty where it read the same."""
    if text.isascii() or _is_misread(text):
        return ""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _is_misread(text: str) -> bool:
    """True if the text may be UTF-8 that was taken for latin-1."""
    try:
        text.encode("latin-1").decode()
    except UnicodeError:
        return False
    return not text.isascii()
