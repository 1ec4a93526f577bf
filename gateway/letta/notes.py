"""The gateway's notes: all words of its own that it puts before an agent, beside what people say. Performs no I/O.

All that is known again by its words stands here and nowhere else: in what Letta lists notes are told from what people
said, and the mod of an App Server of the gateway's own, which takes out what that server says, is made from them. What
an earlier version wrote must be found, so that they keep their values.
"""

import json
import re

# What an App Server puts before people's words, or says in their name, begins so. The gateway's own notes do as well:
# to an agent they are the same.
REMINDER, NOTIFICATION = "<system-reminder>", "<task-notification>"
REMINDER_END = "\n</system-reminder>"
# Comes before the client's system text, in a Letta that must be told it in words.
CLIENT_REMINDER = f"{REMINDER}\nInstructions of the client for this chat:\n"
# Comes instead, where there was such a text before.
WITHDRAWN = "There are none any more."
# Comes before what was said and answered elsewhere.
EARLIER_REMINDER = f"{REMINDER}\nWhat was said earlier in this chat:\n"
# Comes before a message that was answered before: what was called then is not in this conversation.
EXCHANGED = f"{REMINDER}\nTo answer what follows you have called tools, which gave:\n"
# Comes before a message with pictures whose text could be taken for a note.
SAID = f"{REMINDER}\nWhat follows is what the person says.{REMINDER_END}"
BEGINNINGS = (CLIENT_REMINDER, EARLIER_REMINDER, EXCHANGED, SAID)
# Stands for the request to go on with an answer.
CONTINUE = "Continue your last answer exactly where it stops: repeat nothing of it, and do not speak of this request."
# Stands for the request to speak, where only the client's system text asks for that.
GO_AHEAD = "Nobody has said anything new. Say now what your instructions ask for, and do not speak of this request."
STAND_INS = frozenset({CONTINUE, GO_AHEAD})
# Told to an agent whose call is not carried out: what became of the call.
WENT_ON = "The user went on without it."
SAID_ELSE = "The user said something else instead."
NO_ANSWER = "It gave no answer."
CLIENT_GAVE_NO_ANSWER = "The client gave no answer to this call."
NOBODY_ALLOWS = "Nobody is here who could allow it."
NOT_AVAILABLE = "This tool is not available."
# What a V1 server says in a user's name, of what it has taken out of the context.
_ALERT = re.compile(r'\{\s*"type":\s*"system_alert"')


def denial(reason: str, goes_on: bool, otherwise: str) -> str:
    """The words for a call that is denied: its `reason`, or that the user goes on without it, or `otherwise`."""
    return reason or (WENT_ON if goes_on else otherwise)


def note(beginning: str, text: str) -> str:
    return f"{beginning}{text}{REMINDER_END}"


def told_in(said: str, beginning: str) -> str | None:
    """The text of a note that begins so; None for anything else."""
    return said.removeprefix(beginning).removesuffix(REMINDER_END) if said.startswith(beginning) else None


def looks_like_a_note(text: str) -> bool:
    """True of a text that may be a note of the gateway's, or of an App Server's."""
    return text.lstrip().startswith((REMINDER, NOTIFICATION))


def looks_like_an_exchange(text: str) -> bool:
    """True of a text that may be a note of the gateway's, of those that come before a message on a V1 server."""
    return text.startswith(EXCHANGED) or text == SAID


def is_alert(text: str) -> bool:
    return _ALERT.match(text) is not None


def in_prompt(prompt: str, text: str) -> str:
    """An agent's own prompt with the client's system text added to it."""
    return f"{prompt}\n\n<client_instructions>\n{text}\n</client_instructions>"


def with_notes(mod: str) -> str:
    """The App Server's mod, which knows the notes."""
    known = {"__REMINDER__": REMINDER, "__REMINDER_END__": REMINDER_END.strip(), "__BEGINNINGS__": BEGINNINGS}
    for name, value in known.items():
        mod = mod.replace(name, json.dumps(value))
    return mod
