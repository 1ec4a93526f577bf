"""What the tests of chats are run on, one after the other."""

from typing import NamedTuple

from tests.servers.real_letta import RealLetta

# Which Letta, and whether the frontend sends the ids of its messages. An embedded Letta is an App Server, too: what
# depends on the ids alone is seen on one of the two each way.
SIDES = {
    "v1-ids": ("letta_v1", True),
    "app-server-no ids": ("app_server", False),
    "embedded-ids": ("embedded_letta", True),
}


class Side(NamedTuple):
    """Where a chat is kept, and by what it is known."""

    letta: RealLetta
    ids: bool
