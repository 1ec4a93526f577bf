"""LangChain's standard tests of chat models pass in front of V1 and an embedded Letta; what is skipped, and why."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from gateway.settings import Images
from tests.clients.documents import LETTA
from tests.clients.snippets import SECRETS, serving
from tests.integration.words import someone
from tests.pictures.drawn import picture
from tests.servers.obliging import to_script
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel
from tests.workers import asks

SUITE = Path(__file__).with_name("langchain_suite.py")
# The other model that the suite asks for.
PIRATE = msgspec.structs.replace(LETTA, id="pirate")
# How LangChain asks for an answer that fits a schema: each way is seen in front of one of them.
WAYS = {"letta_v1": "json_schema", "embedded_letta": "function_calling"}
# Its clients keep their connections from one test to the next: all of them share an event loop.
LOOP = ("asyncio_mode=auto", "asyncio_default_test_loop_scope=session", "asyncio_default_fixture_loop_scope=session")
REPORT = "report.xml"
OPTIONS = ("-q", "-p", "no:cacheprovider", f"--junitxml={REPORT}", *(word for line in LOOP for word in ("-o", line)))
SKIPPED = {
    "test_audio_inputs": "Letta's messages hold text and pictures: README refuses `input_audio`",
    "test_pdf_inputs": "Letta's messages hold text and pictures: README refuses `file`",
    "test_image_tool_message": "OpenAI's tool messages hold text only",
    "test_pdf_tool_message": "OpenAI's tool messages hold text only",
    "test_stream_time": "measures LangChain's own client, by an answer that was recorded before",
}


@pytest.fixture
def obliging(model: ScriptedModel) -> Iterator[None]:
    """The model behind Letta does what it is asked, for once, without a script."""
    model.rule = to_script
    yield
    model.rule = None


def run(python: Path, directory: Path, **environ: str) -> dict[str, tuple[str, str]]:
    """How each test ended that did not pass, and what it says."""
    shutil.copy(SUITE, directory)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [str(python), "-m", "pytest", *OPTIONS, SUITE.name],
        cwd=directory,
        env={**kept, **environ},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    cases = list(ElementTree.parse(directory / REPORT).iter("testcase"))
    assert len(cases) > 45
    return {case.attrib["name"]: (end.tag, end.attrib["message"]) for case in cases for end in case}


@pytest.fixture(params=[asks(*way, id=way[1]) for way in WAYS.items()])
def ends(request: pytest.FixtureRequest, python: Path, obliging: None, tmp_path: Path) -> dict[str, tuple[str, str]]:
    server, way = request.param
    letta: RealLetta = request.getfixturevalue(server)
    shown = picture()

    async def fetch(url: str) -> bytes:
        return shown.data

    seeing = {"model": letta.seeing, "images": Images(fetch=True), "fetch": fetch}
    with serving(letta, tmp_path, someone(), types=(LETTA, PIRATE), **seeing) as url:
        environ = {"GATEWAY_URL": url, "GATEWAY_KEY": SECRETS["PROGRAMS_KEY"], "PICTURE": shown.base64}
        return run(python, tmp_path, STRUCTURED_OUTPUT=way, **environ)


def test_the_standard_tests_pass_but_those_that_are_explained(ends: dict[str, tuple[str, str]]) -> None:
    assert {name: end for name, end in ends.items() if end[0] != "skipped"} == {}
    assert set(ends) == set(SKIPPED)
