"""The writer of settings files, by which tests tell gateways that are processes what to do."""

from datetime import UTC, datetime
from pathlib import Path

from gateway.configuration import load
from gateway.settings import AgentType, Allowance, Chats, HashedKey, Key, Secret
from tests.gateways import FRONTEND, PROGRAMS, TUTOR, settings_for
from tests.servers.settings_file import written

HASHED = HashedKey(hash="0" * 64, expires=datetime(2030, 1, 2, 3, 4, tzinfo=UTC))


def test_what_is_written_is_read_as_the_same_settings(tmp_path: Path) -> None:
    other = AgentType(
        id="other", model="m/one", system='Say "no"\n\\ to tabs\tand \x7f, ✓', memory={"a b": "c", "ü": ""}
    )
    limited = Key(name="limited", key=Secret("sk-£"), sha256=(HASHED,), user_limits=Allowance(streams=2))
    chats = Chats(grace_seconds=0.1, temporary_ttl=1e-05)
    keys = (PROGRAMS, FRONTEND, limited)
    settings = settings_for("http://127.0.0.1:1", types=(TUTOR, other), keys=keys, chats=chats, chat_page=True)
    (tmp_path / "gateway.toml").write_text(written(settings), encoding="utf-8")

    assert load(tmp_path / "gateway.toml", {}) == settings
