"""The account of a run: what it has cost and done, for those who count and trace."""

from msgspec import Struct

from gateway.domain.events import TokensCounted


class Account(Struct):
    """An account of one run, beside what it told: `Account(agent="agent-1")`.

    The run fills it while it goes on, and whoever reads it before the run's end reads what is known so far. No field
    holds what was said, or who said it.
    """

    agent: str = ""
    """The id of the agent in Letta; empty until it is found."""
    conversation: str = ""
    """The id of the conversation in Letta; empty until it is found."""
    tokens: TokensCounted = TokensCounted()
    """The usage of the whole run: of every step, and of every try."""
