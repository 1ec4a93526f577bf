"""The offline model: an OpenAI-compatible server that needs no key, no network and no language model.

It repeats what it is told, and says so; pictures it counts. It can remember, too: told `My name is Ada`, `I am called
Ada` or `Remember that I like tea`, it calls the tool `memory_insert` where that is offered, and `What is my name?` is
answered from what memory or an earlier message says. It keeps nothing itself between two requests.

It calls a tool that it is offered where that is demanded, where a message says so (`Call the tool get_weather for
Oslo`), or asks for what the tool is for (`What's the weather in Oslo?`).

A message may also be a script, a command a line:

    !think TEXT          think this aloud, instead of "Let me think about it."
    !say TEXT            answer this
    !tool NAME JSON      call a tool; its result is then answered with `Tool said: …`; several lines are parallel calls
    !slow MILLISECONDS   pause so long between two words
    !units NUMBER        stream pieces of so many UTF-16 units, not words: 1 cuts every emoji in two
    !fail STATUS         answer with this HTTP status
    !hang                say nothing, until the other side leaves
    !hang-after TEXT     say this, then nothing more
    !cut-after TEXT      say this, then report an error within the stream
"""

from gateway.offline.script import INTRODUCTION, THOUGHT
from gateway.offline.server import MODEL, create_offline_model

__all__ = ["INTRODUCTION", "MODEL", "THOUGHT", "create_offline_model"]
