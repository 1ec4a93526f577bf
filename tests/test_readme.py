"""What the README and the guides say is true."""

import json
import re
import subprocess
import sys
import tomllib

import msgspec
import pytest

from gateway.domain.errors import GatewayError
from gateway.settings import (
    OPEN_KEY,
    OPEN_WEBUI_HEADERS,
    AgentType,
    Allowance,
    Chats,
    Images,
    Key,
    Letta,
    Provider,
    Server,
    Tasks,
)
from gateway.wires.envelope import UPSTREAM
from tests.gateways import gateway
from tests.openai_schema import REQUEST
from tests.readme import GUIDES, PARAMETERS, README, ROOT
from tests.servers.fake_letta import FakeLetta

TABLES: dict[str, type[msgspec.Struct]] = {
    "[server]": Server,
    "[letta]": Letta,
    "[chats]": Chats,
    "[tasks]": Tasks,
    "[images]": Images,
    "[provider]": Provider,
    "[[agent_types]]": AgentType,
    "[[keys]]": Key,
    "limits`, `user_limits": Allowance,
}


def _block(language: str, page: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)
    assert found
    return found[1]


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize(("title", "struct"), TABLES.items(), ids=TABLES)
def test_the_tables_of_settings_list_every_field_in_order(title: str, struct: type[msgspec.Struct]) -> None:
    section = GUIDES["configuration"].partition(f"## `{title}`")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(struct.__struct_fields__)


def test_the_python_lines_run_as_printed_but_for_the_address() -> None:
    letta_type = (AgentType(id="letta", model="openai/gpt-4o-mini"),)
    with FakeLetta() as letta, gateway(letta.base_url, types=letta_type, keys=()) as url:
        lines = _block("python", README).replace("http://127.0.0.1:8000", url)
        result = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=60, check=False)

    assert (result.stdout, result.stderr) == ("<think>Hm. </think>Hello", "")


def test_the_lines_that_run_it_leave_out_what_its_developers_need_and_bring_its_own_letta() -> None:
    running = [line for line in re.findall(r"uv run (.*)", README) if "letta-gateway" in line or "hello.py" in line]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert len(running) >= 4
    assert [line for line in running if not line.startswith("--no-dev ")] == []
    assert set(project["tool"]["uv"]["default-groups"]) == {"dev", "embedded"}
    assert project["dependency-groups"]["embedded"] == project["project"]["optional-dependencies"]["embedded"]


def test_the_headers_for_open_webui_are_those_that_keys_read() -> None:
    assert json.loads(_block("json", GUIDES["who-asks"])) == OPEN_WEBUI_HEADERS
    assert {name.lower() for name in OPEN_WEBUI_HEADERS} == {
        *(OPEN_KEY.task_header, OPEN_KEY.message_id_header, OPEN_KEY.user_message_id_header, OPEN_KEY.parent_id_header)
    }


def test_every_parameter_of_openai_s_reference_is_in_the_table() -> None:
    names = re.findall(r"`(\w+)`", "".join(row.partition(" | ")[0] for row in PARAMETERS.splitlines()))

    assert len(REQUEST) > 30
    assert set() == set(REQUEST) - set(names)


def test_every_error_code_is_in_the_table() -> None:
    def classes(kind: type[GatewayError]) -> list[type[GatewayError]]:
        return [kind, *(more for sub in kind.__subclasses__() for more in classes(sub))]

    codes = {row.code for row in UPSTREAM.values()} | {kind.code for kind in classes(GatewayError) if kind.code}

    assert set() == {code for code in codes if f"`{code}`" not in GUIDES["api"]}
