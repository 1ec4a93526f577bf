"""What the tests of chats are run on, one after the other."""

from typing import NamedTuple

from tests.servers.real_letta import RealLetta

# Which Letta, and whether the frontend sends the ids of its messages; a V1 server's turns take long.
SIDES = {
    "v1-ids": ("letta_v1", True),
    "app-server-ids": ("app_server", True),
    "app-server-no ids": ("app_server", False),
    "embedded-ids": ("embedded_letta", True),
    "embedded-no ids": ("embedded_letta", False),
}


class Side(NamedTuple):
    """Where a chat is kept, and by what it is known."""

    letta: RealLetta
    ids: bool
