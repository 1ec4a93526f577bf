"""The scopes of the people in Letta whom no key reaches any more: a first key, or a renamed one, leaves them behind."""

from collections import Counter

from gateway.letta.upstream import Upstream
from gateway.settings import DEFAULT_KEY_NAME, OPEN_KEY, Settings
from gateway.turns.chats.markers import GATEWAY_TAG, agent_tags
from gateway.turns.people.template import applied


async def find_left_out(upstream: Upstream, settings: Settings) -> dict[str, int]:
    """The scopes that no key has → the number of their agents, among as many as Letta lists at once.

    Earlier versions did not note the scope of an agent: of theirs, who names nobody without keys is found by the tags.
    Raises UpstreamError.
    """
    if settings.open:
        return {}
    reached = {scope for key in settings.keys for scope in (key.user_scope, settings.former_scope(key))}
    found = [applied(agent.metadata).get("scope") for agent in await upstream.find_agents((GATEWAY_TAG,))]
    left = Counter(scope for scope in found if isinstance(scope, str) and scope not in reached)
    if DEFAULT_KEY_NAME not in reached and DEFAULT_KEY_NAME not in left and OPEN_KEY.default_user:
        for agent_type in settings.agent_types:
            if await upstream.find_agents(agent_tags(agent_type.id, DEFAULT_KEY_NAME, OPEN_KEY.default_user)):
                left[DEFAULT_KEY_NAME] += 1
    return dict(left)
