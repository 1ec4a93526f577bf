"""How an answer is shown beside its text. Performs no I/O."""

from typing import Literal

from msgspec import Struct

Reasoning = Literal["think_tags", "reasoning_content", "hidden"]
ToolActivity = Literal["thoughts", "rich", "mcp_calls", "hidden"]
ApprovalForm = Literal["chat", "items"]


class Look(Struct, frozen=True):
    """How thoughts and tools are shown: `Look("think_tags", "thoughts")`."""

    reasoning: Reasoning
    tool_activity: ToolActivity
    approvals: ApprovalForm = "chat"
    """How a person is asked for an approval: by a question in the chat, or by items of the wire's own."""

    @property
    def shows_tools(self) -> bool:
        """True: tools are shown with all they take and give."""
        return self.tool_activity in ("rich", "mcp_calls")

    @property
    def joins_thoughts(self) -> bool:
        """True: a client puts the thoughts of all steps into one text; else each block of them stands apart."""
        return self.reasoning == "reasoning_content" and not self.shows_tools


PLAIN = Look("hidden", "hidden")
