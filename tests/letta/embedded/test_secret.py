"""The secret that a gateway keeps beside its own Letta."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_IMODE

from gateway.choices import seal_for
from gateway.domain.places import ConversationPlace
from gateway.letta.embedded.secret import SECRET_FILE, kept_secret
from gateway.settings import Letta, Secret, Server, Settings
from tests.gateways import TUTOR

PLACE = ConversationPlace("0b1c2d3e", "c0ffee0123456789")


def test_it_is_made_once_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = kept_secret(state)

    assert len(first) >= 32
    assert kept_secret(state) == first
    assert S_IMODE((state / SECRET_FILE).stat().st_mode) == 0o600
    assert [path.name for path in state.iterdir()] == [SECRET_FILE]


def test_all_that_begin_at_once_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as gateways:
        secrets = {*gateways.map(kept_secret, [tmp_path] * 8)}

    assert len(secrets) == 1


def settings(letta: Letta, *secrets: str) -> Settings:
    server = Server(id_secret=tuple(map(Secret, secrets)))
    return Settings(server=server, letta=letta, agent_types=(TUTOR,))


def test_gateways_in_front_of_one_letta_read_each_other_s_ids(tmp_path: Path) -> None:
    rest = Letta(base_url="http://127.0.0.1:8283", api_key=Secret("letta-key"))
    other_key = Letta(base_url="http://127.0.0.1:8283", api_key=Secret("another"))
    own = Letta(upstream="embedded", state=str(tmp_path))
    secret = "a secret of all gateways"
    alike = [(rest, (), rest, ()), (own, (), own, ()), (rest, (secret,), own, (secret,))]
    apart = [(rest, (), other_key, ()), (rest, (), own, ()), (rest, (secret,), rest, ())]

    for one, its, other, others in (*alike, *apart):
        id = seal_for(settings(one, *its)).conversation_id(PLACE)
        read = seal_for(settings(other, *others)).read_conversation(id)
        assert (read == PLACE) == ((one, its, other, others) in alike)
