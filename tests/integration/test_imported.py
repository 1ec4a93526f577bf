"""What a gateway in front of a real Letta imports once it is ready: nothing."""

from pathlib import Path

from tests.imported import config_of, importing
from tests.integration.several import WORKERS, shared, workers
from tests.servers.real_letta import RealLetta
from tests.servers.redis_server import RedisServer
from tests.test_starting import of_whole_use


def test_whatever_it_is_asked_it_imports_nothing_for_it(letta: RealLetta, tmp_path: Path) -> None:
    with importing(config_of(tmp_path, letta.config(tmp_path), letta.model)) as process:
        assert of_whole_use(process) == []


def test_neither_do_its_workers_nor_their_parent(letta: RealLetta, tmp_path: Path) -> None:
    with RedisServer() as redis:
        config = config_of(tmp_path, shared(redis.url) + letta.config(tmp_path), letta.model)
        config.write_text(config.read_text().replace("[server]", f"[server]\nworkers = {WORKERS}"))
        with importing(config) as process:
            assert len(workers(process)) == WORKERS
            assert of_whole_use(process) == []
