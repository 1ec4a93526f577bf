"""Every configuration that is printed is read as it is printed, for each Letta that it has lines for."""

import json
import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from gateway.configuration import PROVIDERS, SettingsError
from gateway.settings import UpstreamKind
from tests.deployment.kubernetes import PARTS, SECRET
from tests.printed import FILES, LETTAS, Block, Configuration, blocks, configurations, copied_files
from tests.readme import PAGES, ROOT

PRINTED = configurations()
VARIANTS = {f"{name}, {letta}": (one, letta) for name, one in PRINTED.items() for letta in one.lettas}
KINDS: dict[str, UpstreamKind] = {"App Server": "app-server", "V1 server": "rest"}
# The files to copy that other programs read, and who has them read here.
OF_OTHERS = {
    "compose.yaml": "tests/test_packaging.py",
    "deploy/grafana/alerts.yml": "tests/servers/prometheus.py",
    "deploy/grafana/letta-gateway.json": "tests/integration/test_grafana.py",
    # `own-letta/gateway.toml` is served as it is, as others are.
    **{
        f"deploy/kubernetes/{name}": "tests/deployment/kubernetes.py"
        for name in {*PARTS, SECRET} - {"own-letta/gateway.toml"}
    },
    "deploy/librechat/librechat.yaml": "tests/clients/test_librechat.py",
    "deploy/nginx/letta-gateway.conf": "tests/servers/nginx.py",
    "deploy/open-webui/open-webui.env": "tests/servers/open_webui.py",
    "deploy/systemd/letta-gateway.service": "tests/deployment/test_systemd.py",
}
# Keys that no caller of the gateway has; the last one is that of the environment alone.
OTHER_KEYS = {"LETTA_API_KEY", *(key for _, _, key in PROVIDERS if key), "GATEWAY_API_KEY"}
PARSERS = {"json": json.loads, "yaml": yaml.safe_load}
PARSED = {f"{name} {i}": one for name in PAGES for i, one in enumerate(blocks(name), 1) if one.language in PARSERS}


@pytest.mark.parametrize("one", PRINTED.values(), ids=PRINTED)
def test_it_is_read_with_the_variables_that_its_page_names(one: Configuration, tmp_path: Path) -> None:
    settings = one.settings(tmp_path)

    assert settings.letta.kind == "embedded"
    assert len(settings.keys) == one.text.count("[[keys]]")


@pytest.mark.parametrize(("one", "letta"), VARIANTS.values(), ids=VARIANTS)
def test_its_lines_for_another_letta_are_read(one: Configuration, letta: str, tmp_path: Path) -> None:
    settings = one.for_letta(letta).settings(tmp_path, LETTA_BASE_URL=LETTAS[letta])

    assert (settings.letta.kind, settings.letta.address) == (KINDS[letta], LETTAS[letta])


@pytest.mark.parametrize("page", sorted({one.page for one in PRINTED.values()}))
def test_a_key_s_variable_has_one_name_on_its_page(page: str) -> None:
    taken = {name for one in PRINTED.values() if one.page == page for name in one.variables}
    named = set(re.findall(r"\b[A-Z][A-Z_]*_KEY\b", (ROOT / page).read_text(encoding="utf-8")))

    assert named - OTHER_KEYS <= taken


@pytest.mark.parametrize("block", PARSED.values(), ids=PARSED)
def test_what_is_printed_for_other_programs_has_the_form_that_it_says(block: Block) -> None:
    assert isinstance(PARSERS[block.language](block.text), dict | list)


def test_every_file_to_copy_is_read_by_a_test() -> None:
    assert copied_files() == FILES.keys() | OF_OTHERS.keys()
    for file, reader in OF_OTHERS.items():
        assert Path(file).name in (ROOT / reader).read_text(encoding="utf-8")


def test_configurations_and_their_lines_for_other_lettas_are_found() -> None:
    assert {
        "README.md 1",
        "deploy/clients.md 1",
        "deploy/clients.md 2",
        "deploy/compose/gateway.toml",
    } <= PRINTED.keys()
    assert {"README.md 1, App Server", "README.md 1, V1 server"} <= VARIANTS.keys()


def test_a_variable_that_the_page_does_not_name_is_not_set(tmp_path: Path) -> None:
    unnamed = Configuration("page.md", '[[keys]]\nname = "a"\nkey = "${A_KEY}"\n', "Set it.")

    with pytest.raises(SettingsError, match="A_KEY"):
        unnamed.settings(tmp_path)


def test_a_line_that_is_for_another_letta_holds_for_that_one_alone() -> None:
    text = '# a = "x"  # App Server, V1 server: more\n# b = 1 # V1 server\n# c = "no"\n'
    one = Configuration("page.md", text, "")

    assert one.for_letta("App Server").text == 'a = "x"\n# b = 1 # V1 server\n# c = "no"\n'
    assert one.for_letta("V1 server").text == 'a = "x"\nb = 1\n# c = "no"\n'
