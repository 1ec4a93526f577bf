"""What the guides print for operators, run as they print it: memory, copies, agents that exist, a service."""

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.configuration import PROVIDERS
from gateway.settings import AgentType
from gateway.turns.chats.markers import agent_tags
from tests.gateways import KEY, GatewayProcess, chat, gateway, http, said
from tests.integration.words import someone, unheard
from tests.printed import blocks, on_page
from tests.readme import ROOT
from tests.servers.app_server import AppServer
from tests.servers.letta_v1 import LettaV1
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel
from tests.workers import asks

CONFIG = f'[[agent_types]]\nid = "tutor"\n[[keys]]\nname = "programs"\nkey = "{KEY}"\n'
# The tag in the guides' lines, whosever it is.
PRINTED_TAG = "gw-user:9b65b1695f34"
TUTOR = AgentType(id="tutor")


def printed(page: str, name: str) -> str:
    (text,) = (block.text for block in blocks(f"deploy/guide/{page}") if block.name == name)
    return text


def shell(lines: str, home: Path) -> str:
    """What an operator sees who types these lines."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(["bash", "-ec", lines], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(lines: str, *arguments: str, letta: RealLetta) -> str:
    """What a program prints that is run as the guides say, in front of `letta`."""
    environ = os.environ | {"LETTA_BASE_URL": letta.base_url, "LETTA_API_KEY": letta.api_key}
    command = [sys.executable, "-c", lines, *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(url: str, text: str, chat_id: str, user: str = "ada", model: str = "tutor") -> str:
    with http(url) as client:
        body = chat(text, user=user, model=model, metadata={"chat_id": chat_id})
        response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return said(response.text)["content"].rpartition("</think>")[2]


@contextmanager
def serving_at(home: Path) -> Iterator[str]:
    """A gateway with a Letta of its own that keeps its state where a user's data is."""
    home.mkdir(exist_ok=True)
    config = home / "gateway.toml"
    config.write_text(CONFIG)
    environ = {"HOME": str(home), "XDG_DATA_HOME": "", **{variable: "" for variable, _, _ in PROVIDERS}}
    with GatewayProcess(config, **environ) as process:
        yield process.base_url
    assert (home / ".local" / "share" / "letta-gateway" / "backend").is_dir()


def test_memory_is_looked_at_and_corrected_by_hand(tmp_path: Path) -> None:
    home, tag = tmp_path / "home", agent_tags("tutor", "programs", "ada")[2][: len(PRINTED_TAG)]
    look, correct = (printed("memory.md", name).replace(PRINTED_TAG, tag) for name in ("look.sh", "correct.sh"))
    with serving_at(home) as url:
        ask(url, "hello", "before")
        ask(url, "My name is Ada.", "telling")
        ask(url, "My name is Ada.", "telling", user="bob")
    seen = shell(look, home)
    shell(correct, home)

    assert "Their name is Ada." in seen
    assert seen.count("Author: ") > 1
    with serving_at(home) as url:
        assert ask(url, "What is my name?", "before") == "Your name is Augusta."
        assert ask(url, "What is my name?", "after") == "Your name is Augusta."
        assert ask(url, "What is my name?", "after", user="bob") == "Your name is Ada."


def test_a_copy_brings_agents_and_chats_back_here_and_elsewhere(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with serving_at(here) as url:
        ask(url, "My name is Ada.", "old")
    shell(printed("backup.md", "backup.sh"), here)
    with serving_at(here) as url:
        ask(url, "My name is Augusta.", "new")
    there.mkdir()
    shutil.copy(here / "letta-gateway.tar.gz", there)

    for home in (here, there):
        shell(printed("backup.md", "restore.sh"), home)
        with serving_at(home) as url:
            # Who is greeted again has been forgotten.
            assert ask(url, "and on", "old") == "You said: and on"
            assert ask(url, "What is my name?", "another") == "Your name is Ada."


def test_memory_blocks_are_told_and_corrected_by_letta_client(letta_v1: LettaV1) -> None:
    user = someone()
    tags = agent_tags("tutor", "programs", user)
    with gateway(letta_v1, types=(TUTOR,)) as url:
        ask(url, "My name is Ada.", "one", user)
    told = python(printed("memory.md", "blocks.py").replace(PRINTED_TAG, tags[2]), letta=letta_v1)
    (agent,) = letta_v1.agents(tags)

    assert "human: What I know about the person I talk to:\nTheir name is Ada.\n" in told
    assert letta_v1.memory(agent)["human"].endswith("Their name is Augusta.")
    with gateway(letta_v1, types=(TUTOR,)) as url:
        assert ask(url, "What is my name?", "two", user) == "Your name is Augusta."


# The Letta, the program for it, and whether the agent keeps its prompt where the type has none.
ADOPTIONS = [asks("letta_v1", "adopt.py", True, id="v1"), asks("app_server", "adopt_ws.py", False, id="app-server")]


@pytest.mark.parametrize("adoption", ADOPTIONS)
def test_an_agent_that_a_person_has_already_is_found_by_its_tags(
    adoption: tuple[str, str, bool], model: ScriptedModel, request: pytest.FixtureRequest
) -> None:
    server, script, keeps_its_prompt = adoption
    letta: RealLetta = request.getfixturevalue(server)
    user, question, own = someone(), unheard(), unheard("I was here before.")
    tags, agent = agent_tags("tutor", "programs", user), letta.create_agent(own)
    python(printed("existing-agents.md", script), agent, *tags, letta=letta)
    with gateway(letta, types=(TUTOR,)) as url:
        ask(url, question, "one", user)

    assert letta.agents(tags) == [agent]
    ((prompt, *_),) = model.received(question)
    assert (own in prompt[1]) == keeps_its_prompt


def test_an_agent_that_everybody_shares_is_named_by_its_id(app_server: AppServer, tmp_path: Path) -> None:
    (one,) = on_page("deploy/guide/existing-agents.md")
    one = one.in_front_of("App Server", app_server.base_url, app_server.api_key)
    (ops,) = one.settings(tmp_path).agent_types
    assert ops.agent
    agent = app_server.create_agent("You know this house.")
    file = one.written(tmp_path)
    file.write_text(one.text.replace(ops.agent, agent))
    with GatewayProcess(file, PROGRAMS_KEY=KEY) as process:
        answers = [ask(process.base_url, "hello", "one", user, ops.id) for user in (someone(), someone())]

    assert all(answer.endswith("You said: hello") for answer in answers)
    assert len(app_server.conversations(agent)) == 2


def test_the_line_of_the_service_serves(tmp_path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((ROOT / "deploy/systemd/letta-gateway.service").read_text(encoding="utf-8"))
    service = dict(unit["Service"])
    command, *arguments = shlex.split(service["ExecStart"])
    places = {
        "/etc/letta-gateway/gateway.toml": tmp_path / "gateway.toml",
        "/var/lib/letta-gateway": tmp_path / "state",
    }
    (tmp_path / "gateway.toml").write_text(CONFIG)

    assert command == "/opt/letta-gateway/bin/letta-gateway"
    assert places.keys() <= set(arguments)
    serve, option, file, *more = [str(places.get(argument, argument)) for argument in arguments]
    assert (serve, option) == ("serve", "--config")
    # What systemd gives a service, without a home of its own.
    with GatewayProcess(Path(file), *more, HOME="/nonexistent", **{row[0]: "" for row in PROVIDERS}) as process:
        assert ask(process.base_url, "My name is Ada.", "one") == "I will remember that."
    assert service["EnvironmentFile"] == "/etc/letta-gateway/environment"
    assert service["StateDirectory"] == "letta-gateway"
