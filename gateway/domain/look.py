"""How an answer is shown beside its text. Performs no I/O."""

from typing import Literal

from msgspec import Struct

Reasoning = Literal["think_tags", "reasoning_content", "hidden"]
ToolActivity = Literal["thoughts", "rich", "hidden"]


class Look(Struct, frozen=True):
    """How thoughts and tools are shown: `Look("think_tags", "thoughts")`."""

    reasoning: Reasoning
    tool_activity: ToolActivity

    @property
    def joins_thoughts(self) -> bool:
        """True: a client puts the thoughts of all steps into one text; else each block of them stands apart."""
        return self.reasoning == "reasoning_content" and self.tool_activity != "rich"


PLAIN = Look("hidden", "hidden")
