"""The account of a run: what it has cost and done, for those who count and trace. Performs no I/O."""

from collections.abc import Iterable

from msgspec import Struct

from gateway.domain.events import CallRefused, CallWaits, Event, Text, Thought, TokensCounted, ToolCalled

# A token is some four characters of English: https://platform.openai.com/tokenizer
CHARACTERS_A_TOKEN = 4


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
    estimated: TokensCounted = TokensCounted()
    """The part of `tokens` that Letta has not told, as of a run that was cut off; it is made of characters."""


def untold(events: Iterable[Event], asked: int, cut: bool) -> TokensCounted:
    """The usage, as it is estimated, of the steps among `events` that no usage among them tells of.

    A step takes what was asked, of `asked` characters, and all that the agent writes in it: thoughts, texts, and the
    arguments of calls. `cut`: the run was ended from this side, and so within a step, of which nothing may be heard.
    """
    steps: set[str | None] = set()
    written = 0
    for event in events:
        match event:
            case TokensCounted():
                steps, written = set(), 0
            case Text(text, step) | Thought(text, step):
                written += len(text)
                steps.add(step)
            case ToolCalled(call, step) | CallWaits(call, step) | CallRefused(call, step=step):
                written += len(call.arguments)
                steps.add(step)
    prompt, completion = max(len(steps), cut) * _tokens(asked), _tokens(written)
    return TokensCounted(prompt, completion, prompt + completion)


def _tokens(characters: int) -> int:
    """So many tokens these characters are; a part of one is a whole one."""
    return -(-characters // CHARACTERS_A_TOKEN)
