"""The command `key`: what it prints opens the gateway, and what stands in the configuration opens nothing."""

import io
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from litestar.datastructures import Headers

from gateway.cli import main
from gateway.configuration import load
from gateway.http.incoming.auth import KeyRing
from gateway.settings import Settings

TYPE = '[[agent_types]]\nid = "tutor"\nmodel = "m/one"\n'
EXPIRES = datetime(2999, 1, 1, tzinfo=UTC)


def settings_with(tmp_path: Path, line: str) -> Settings:
    path = tmp_path / "gateway.toml"
    path.write_text(f'{TYPE}[[keys]]\nname = "programs"\n{line}')
    return load(path, {})


def opens(settings: Settings, value: str) -> bool:
    sent = Headers([(b"authorization", f"Bearer {value}".encode())])
    return KeyRing(settings).admit(sent).key.name == "programs"


@pytest.mark.parametrize(("more", "expires"), [((), None), (("--expires", "2999-01-01"), EXPIRES)], ids=["", "expires"])
def test_a_new_key_opens_a_gateway_whose_configuration_has_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], expires: datetime | None
) -> None:
    main(["key", "new", *more])
    key, line = re.findall(r"^  (.+)$", capsys.readouterr().out, re.MULTILINE)
    settings = settings_with(tmp_path, line)

    assert opens(settings, key)
    assert [each.expires for each in settings.keys[0].sha256] == [expires]
    assert key not in line


def test_no_two_new_keys_are_alike(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(10):
        main(["key", "new"])
    keys = re.findall(r"^  (sk-gw-[\w-]{43})$", capsys.readouterr().out, re.MULTILINE)

    assert len(set(keys)) == 10


def test_a_key_that_is_in_use_is_hashed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-in-use\n"))
    main(["key", "hash"])

    assert opens(settings_with(tmp_path, capsys.readouterr().out), "sk-in-use")


def test_an_empty_key_is_not_hashed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    with pytest.raises(SystemExit) as ended:
        main(["key", "hash"])

    assert ended.value.code == 1
    assert capsys.readouterr().err == "standard input: expected a key, got an empty line\n"
