"""An agent type as the template of one user's agent. Performs no I/O."""

import re
from hashlib import sha256
from typing import Any

import msgspec

from gateway.letta.upstream import Former, Template
from gateway.settings import AgentType
from gateway.turns.chats.markers import agent_name, agent_tags
from gateway.turns.people.identity import User

# The key of an agent's metadata under which it keeps which template it was given last.
METADATA_KEY = "letta_gateway"
# A part of the fingerprint, so that agents that older gateways made, which call one tool at a time, get the template
# again.
PARALLEL_CALLS = "parallel calls"
# Control characters, and halves of surrogate pairs: no Letta keeps them all.
_UNKEPT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PLACEHOLDER = re.compile(r"\{(user|user_name|user_email)\}")


def fill(text: str, user: User) -> str:
    """`text` with `{user}`, `{user_name}` and `{user_email}` replaced, in one pass; other braces stay."""
    values = {"user": user.id, "user_name": user.name, "user_email": user.email}
    return _PLACEHOLDER.sub(lambda match: _UNKEPT.sub(" ", values[match[1]]), text)


def to_template(agent_type: AgentType, user: User, model: str) -> Template:
    """The template of this user's agent. `agent_type` is one that makes agents, not one that names one.

    `model` is the type's own, or the one that stands in where it names none.
    """
    now, *before = ((user.scope, user.id), *user.formers)
    return Template(
        model=model,
        tags=agent_tags(agent_type.id, *now),
        name=agent_name(agent_type.id, *now),
        system=fill(agent_type.system, user) if agent_type.system else None,
        tools=agent_type.tools,
        blocks={label: fill(value, user) for label, value in agent_type.blocks.items()},
        embedding=agent_type.embedding,
        metadata={
            METADATA_KEY: {
                "template": _fingerprint(agent_type, model),
                "tools": list(agent_type.tools),
                "scope": user.scope,
            }
        },
        formers=tuple(Former(agent_tags(agent_type.id, *name), agent_name(agent_type.id, *name)) for name in before),
    )


def _fingerprint(agent_type: AgentType, model: str) -> str:
    """A digest that changes with the parts of a template that are applied to existing agents, and not with the user."""
    applied = [model, agent_type.system, agent_type.tools, PARALLEL_CALLS]
    return sha256(msgspec.json.encode(applied)).hexdigest()[:16]


def applied(metadata: dict[str, Any] | None) -> dict[str, Any]:
    """The record of the template that an agent was given last, and of the scope of its user.

    `{"template": "9f…", "tools": ["web_search"], "scope": "open-webui"}`; earlier versions did not note the scope.
    """
    kept = (metadata or {}).get(METADATA_KEY)
    return kept if isinstance(kept, dict) else {}


def is_applied(template: Template, metadata: dict[str, Any] | None) -> bool:
    """True if an agent with this metadata was given the template already."""
    given, now = applied(metadata), applied(template.metadata)
    return all(given.get(name) == now[name] for name in ("template", "tools"))
