"""What a gateway in front of a real Letta imports once it is ready: nothing."""

from pathlib import Path

from tests.imported import config_of, importing
from tests.servers.real_letta import RealLetta
from tests.test_starting import of_whole_use


def test_whatever_it_is_asked_it_imports_nothing_for_it(letta: RealLetta, tmp_path: Path) -> None:
    with importing(config_of(tmp_path, letta.config(tmp_path), letta.model)) as process:
        assert of_whole_use(process) == []
