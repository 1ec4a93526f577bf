"""The functions that read texts which clients send again, made of the patterns of the wire and of the frontends.

Performs no I/O.
"""

from gateway.domain.texts.client_texts import ClientTexts
from gateway.frontends.open_webui.messages import BLOCKS, bare_question
from gateway.wires.chat_completions.think_tags import defuse_answer
from gateway.wires.question import asks
from gateway.wires.visible_text import THOUGHTS, visible_text

_BLOCKS = {**THOUGHTS, **BLOCKS}


def visible(text: str) -> str:
    """The part of an answer that its agent wrote and a person sees, whatever frontend sends it again."""
    return visible_text(text, _BLOCKS)


def visible_of_items(text: str) -> str:
    """The same for an answer that came as output items, without its thoughts: a tag in it is text.

    (An answer that came whole has its thoughts at the beginning.)
    """
    return visible(defuse_answer(text))


TEXTS = ClientTexts(visible, asks, bare_question)
ITEM_TEXTS = ClientTexts(visible_of_items, asks, bare_question)
