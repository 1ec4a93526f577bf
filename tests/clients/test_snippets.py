"""Every snippet of `deploy/clients.md` runs as printed, but for the address, in front of a real Letta."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.turns.chats.markers import agent_tags
from tests.clients.documents import LETTA
from tests.clients.node import link
from tests.clients.snippets import ADDRESS, SECRETS, SNIPPETS, TWICE, of_each_time, serving
from tests.integration.words import someone
from tests.servers.app_server import AppServer
from tests.servers.scripted_model import INTRODUCTION, THOUGHT, ScriptedModel

# Each asks "Hello!", prints the answer, and the thoughts on stderr where its client reads them.
ASKS = ["ask.sh", *(name for name in SNIPPETS if name.startswith("ask_"))]
# Each asks "Hello!" and "And now?", and prints both answers.
RESPONDS = [name for name in SNIPPETS if name.startswith("respond_")]
SUNNY = "Tool said: sunny in Oslo"
SAID_WITH_TOOLS = {"tools_openai.py": SUNNY, "tools_langchain.py": f"{SUNNY}\nOslo"}
READS_NO_THOUGHTS = ("ask.sh", "ask_langchain.py")
FIRST, AGAIN, NOW = f"{INTRODUCTION}You said: Hello!", "You said: Hello!", "You said: And now?"
# The ways to call litellm that the page speaks of: who it says is asking.
LITELLM_WAYS = {
    "litellm_proxy": ({"model": "litellm_proxy/letta"}, True),
    "allowed": ({"model": "openai/letta", "allowed_openai_params": ["user"]}, True),
    "extra body": ({"model": "openai/letta", "extra_body": {"user": "ada"}}, True),
    "openai": ({"model": "openai/letta"}, False),
    "vllm": ({"model": "hosted_vllm/letta"}, False),
}
LITELLM = """
import json, os, sys, litellm
litellm.suppress_debug_info = True
hello = {"messages": [{"role": "user", "content": "Hello!"}], "user": "ada", "num_retries": 0}
for way in json.loads(sys.argv[1]):
    try:
        litellm.completion(api_base=sys.argv[2], api_key=os.environ["PROGRAMS_KEY"], **hello, **way)
        print(True)
    except litellm.BadRequestError as error:
        print("needs to know who is asking" not in str(error))
"""


def environ() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, **SECRETS, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def run(command: list[str], directory: Path) -> tuple[str, str]:
    """What it prints, and what it says on stderr."""
    done = subprocess.run(
        command,
        cwd=directory,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def command_for(name: str, request: pytest.FixtureRequest, directory: Path) -> list[str]:
    match name.rpartition(".")[2]:
        case "py":
            return [str(request.getfixturevalue("python")), "-c", TWICE, name]
        case "mjs":
            link(request.getfixturevalue("node_modules"), directory)
            return ["node", name]
        case _:
            if shutil.which("curl") is None:
                pytest.skip("curl is not installed")
            return ["bash", name]


def text_of(name: str, printed: str) -> str:
    """The answer: curl prints it as it comes."""
    if name != "ask.sh":
        return printed.strip()
    chunks = [json.loads(line[6:]) for line in printed.splitlines() if line.startswith("data: {")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_no_snippet_is_left_out() -> None:
    others = {"gateway.toml", "config.toml", "route.js", "Chat.jsx", "resumed_route.js", "ResumedChat.jsx"}
    assert {*ASKS, *RESPONDS, *SAID_WITH_TOOLS, *others} == SNIPPETS.keys()


@pytest.mark.parametrize("name", ASKS)
def test_a_snippet_asks_and_asks_again_in_the_same_chat(
    name: str, request: pytest.FixtureRequest, app_server: AppServer, model: ScriptedModel, tmp_path: Path
) -> None:
    scope = someone()
    with serving(app_server, tmp_path, scope) as url:
        (tmp_path / name).write_text(SNIPPETS[name].replace(ADDRESS, url), encoding="utf-8")
        command = command_for(name, request, tmp_path)
        if TWICE in command:
            (first, again), (thoughts, _) = (of_each_time(said) for said in run(command, tmp_path))
        else:
            (first, thoughts), (again, _) = run(command, tmp_path), run(command, tmp_path)

    assert [text_of(name, printed) for printed in (first, again)] == [FIRST, AGAIN]
    assert thoughts.strip() == ("" if name in READS_NO_THOUGHTS else THOUGHT.strip())
    assert model.said("Hello!")[-1] == [("user", "Hello!"), ("assistant", FIRST), ("user", "Hello!")]
    (agent,) = app_server.agents(agent_tags(LETTA.id, scope, "ada"))
    assert len(app_server.conversations(agent)) == 1


def test_litellm_says_who_asks_in_the_ways_that_the_page_names(
    python: Path, app_server: AppServer, tmp_path: Path
) -> None:
    ways = json.dumps([way for way, _ in LITELLM_WAYS.values()])
    with serving(app_server, tmp_path, someone()) as url:
        printed, _ = run([str(python), "-c", LITELLM, ways, f"{url}/v1"], tmp_path)

    assert printed.split() == [str(told) for _, told in LITELLM_WAYS.values()]


@pytest.mark.parametrize("name", RESPONDS)
def test_a_snippet_goes_on_from_a_response(
    name: str, request: pytest.FixtureRequest, app_server: AppServer, model: ScriptedModel, tmp_path: Path
) -> None:
    scope = someone()
    with serving(app_server, tmp_path, scope) as url:
        (tmp_path / name).write_text(SNIPPETS[name].replace(ADDRESS, url), encoding="utf-8")
        once = [word for word in command_for(name, request, tmp_path) if word not in ("-c", TWICE)]
        printed, _ = run(once, tmp_path)

    assert printed.splitlines() == [FIRST, NOW]
    assert model.said("And now?")[-1] == [("user", "Hello!"), ("assistant", FIRST), ("user", "And now?")]
    (agent,) = app_server.agents(agent_tags(LETTA.id, scope, "ada"))
    assert len(app_server.conversations(agent)) == 1


@pytest.mark.parametrize("name", SAID_WITH_TOOLS)
def test_a_tool_is_called_and_what_it_gives_is_the_agent_s(
    name: str, python: Path, app_server: AppServer, model: ScriptedModel, tmp_path: Path
) -> None:
    with serving(app_server, tmp_path, someone()) as url:
        (tmp_path / name).write_text(SNIPPETS[name].replace(ADDRESS, url), encoding="utf-8")
        printed, _ = run([str(python), name], tmp_path)

    assert printed.strip() == SAID_WITH_TOOLS[name]
    results = [m for request in model.requests for m in request["messages"] if m["role"] == "tool"]
    assert any("sunny in Oslo" in str(result["content"]) for result in results)
