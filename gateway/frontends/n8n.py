"""The prompts of n8n's background tasks. Performs no I/O."""

from gateway.domain.tasks import TITLE
from gateway.frontends.prompts import Prompt

_SOURCE = "https://github.com/n8n-io/n8n/blob/master/packages/cli/src/modules/chat-hub/chat-hub.constants.ts"
PROMPTS = (
    Prompt(
        "n8n",
        TITLE,
        "Generate a concise, descriptive title for this conversation based on the user's message.",
        "Only output the title, nothing else",
        _SOURCE,
        role="system",
        in_json=False,
    ),
)
