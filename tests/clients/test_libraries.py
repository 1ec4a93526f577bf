"""The lines that `deploy/clients.md` prints for more libraries and for programs of one person, run as printed.

They are parts of a program: here is the rest of it. Nothing of LangChain4j's is run, for want of Java.
"""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

from gateway.turns.chats.markers import agent_tags
from tests.clients.documents import LETTA
from tests.clients.snippets import ADDRESS, PAGE, SECRETS, SNIPPETS, TWICE, of_each_time, serving
from tests.environments import npm_environment, uv_environment
from tests.integration.words import someone
from tests.printed import blocks
from tests.servers.app_server import AppServer
from tests.servers.scripted_model import INTRODUCTION, ScriptedModel

HERE = Path(__file__).parent
PARTS = [block for block in blocks(f"deploy/{PAGE}") if not block.name]
HAYSTACK, LLAMA_INDEX, SEMANTIC_KERNEL, LIVEKIT = (part.text for part in PARTS if part.language == "python")
LLM, CONTINUE = (part.text for part in PARTS if part.language == "yaml")
(OPENCODE,) = (part.text for part in PARTS if part.language == "json")
CODEX = SNIPPETS["config.toml"]
(AIDER,) = (part.text for part in PARTS if part.language == "sh")

WITH_HAYSTACK = f"""
import os
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret
generator = {HAYSTACK.strip()}
print(generator.run([ChatMessage.from_user("Hello!")])["replies"][0].text)
"""
WITH_LLAMA_INDEX = f"""
import os
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
llm = {LLAMA_INDEX.strip()}
print(llm.chat([ChatMessage(role="user", content="Hello!")]).message.content)
"""
WITH_SEMANTIC_KERNEL = f"""
import asyncio, os
from openai import AsyncOpenAI
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion, OpenAIChatPromptExecutionSettings
from semantic_kernel.contents import ChatHistory
async def main():
    history = ChatHistory()
    history.add_user_message("Hello!")
{indent(SEMANTIC_KERNEL, "    ")}
    print(answer)
asyncio.run(main())
"""
WITH_LIVEKIT = f"""
import asyncio, os
from livekit.agents import AgentSession, APIConnectOptions, ChatContext
from livekit.agents.voice.agent_session import SessionConnectOptions
from livekit.plugins import openai
async def main():
    chat_ctx, tools = ChatContext.empty(), []
    chat_ctx.add_message(role="user", content="Hello!")
{indent(LIVEKIT, "    ")}
    async for chunk in answer:
        print(chunk.delta and chunk.delta.content or "", end="")
    assert session.llm is llm
asyncio.run(main())
"""
LIBRARIES = {
    "haystack": ("libraries.toml", WITH_HAYSTACK),
    "LlamaIndex": ("llama_index.toml", WITH_LLAMA_INDEX),
    "semantic-kernel": ("libraries.toml", WITH_SEMANTIC_KERNEL),
    "LiveKit": ("libraries.toml", WITH_LIVEKIT),
}
FIRST, AGAIN = f"{INTRODUCTION}You said: Hello!", "You said: Hello!"
# Nobody is to be told that tests run.
NO_TELEMETRY = {
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "CONTINUE_TELEMETRY_ENABLED": "0",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


def run(command: list[str | Path], home: Path, **environ: str) -> str:
    """What somebody sees who runs it at `home`, and nobody is there to be asked."""
    here = {"PATH": os.environ["PATH"], "HOME": str(home), **SECRETS, **NO_TELEMETRY, **environ}
    done = subprocess.run(
        command,
        cwd=home,
        env=here,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment_of(project: str) -> Path:
    """The commands of an environment for the file `project`."""
    return uv_environment(project.removesuffix(".toml").replace("_", "-"), HERE / project) / "bin"


def only_agent(server: AppServer, scope: str) -> str:
    """Ada's agent, whichever way her program has told who she is."""
    (agent,) = server.agents(agent_tags(LETTA.id, scope, "ada"))
    return agent


@pytest.mark.parametrize(("project", "program"), LIBRARIES.values(), ids=LIBRARIES)
def test_a_library_asks_and_asks_again_in_the_same_chat(
    project: str, program: str, app_server: AppServer, tmp_path: Path
) -> None:
    scope, python = someone(), environment_of(project) / "python"
    with serving(app_server, tmp_path, scope) as url:
        (tmp_path / "program.py").write_text(program.replace(ADDRESS, url), encoding="utf-8")
        answers = of_each_time(run([python, "-c", TWICE, "program.py"], tmp_path))

    assert [answer.strip() for answer in answers] == [FIRST, AGAIN]
    assert len(app_server.conversations(only_agent(app_server, scope))) == 1


def test_llm_asks_and_goes_on(app_server: AppServer, tmp_path: Path) -> None:
    scope, llm = someone(), environment_of("libraries.toml") / "llm"
    with serving(app_server, tmp_path, scope) as url:
        (tmp_path / "extra-openai-models.yaml").write_text(LLM.replace(ADDRESS, url), encoding="utf-8")
        at_home = {"LLM_USER_PATH": str(tmp_path)}
        run([llm, "keys", "set", "letta", "--value", SECRETS["ADA_TERMINAL_KEY"]], tmp_path, **at_home)
        first = run([llm, "-m", "letta", "Hello!"], tmp_path, **at_home)
        again = run([llm, "-c", "And now?"], tmp_path, **at_home)

    assert (first.strip(), again.strip()) == (FIRST, "You said: And now?")
    assert len(app_server.conversations(only_agent(app_server, scope))) == 1


def test_opencode_asks_its_agent_and_nobody_for_a_title(
    app_server: AppServer, model: ScriptedModel, tmp_path: Path
) -> None:
    scope, modules = someone(), npm_environment("terminals", HERE / "terminals.json") / "node_modules"
    # The installer would choose among those for this machine.
    opencode = sorted(modules.glob("opencode-*/bin/opencode"))[-1]
    with serving(app_server, tmp_path, scope) as url:
        (tmp_path / "opencode.json").write_text(OPENCODE.replace(ADDRESS, url), encoding="utf-8")
        asked = len(model.requests)
        answer = run([opencode, "run", "Hello!"], tmp_path)

    assert answer.strip() == FIRST
    assert len(model.requests) == asked + 1
    assert len(app_server.conversations(only_agent(app_server, scope))) == 1


def test_codex_asks_its_agent_and_goes_on(app_server: AppServer, tmp_path: Path) -> None:
    scope, modules = someone(), npm_environment("terminals", HERE / "terminals.json") / "node_modules"
    with serving(app_server, tmp_path, scope) as url:
        (tmp_path / ".codex").mkdir()
        (tmp_path / ".codex" / "config.toml").write_text(CODEX.replace(ADDRESS, url), encoding="utf-8")
        codex: list[str | Path] = [modules / ".bin" / "codex", "exec", "--skip-git-repo-check"]
        first = run([*codex, "Hello!"], tmp_path)
        again = run([*codex, "resume", "--last", "And now?"], tmp_path)

    assert (first.strip(), again.strip()) == (FIRST, "You said: And now?")
    assert len(app_server.conversations(only_agent(app_server, scope))) == 1


def test_continue_asks_the_agent_of_its_key(app_server: AppServer, tmp_path: Path) -> None:
    scope, modules = someone(), npm_environment("terminals", HERE / "terminals.json") / "node_modules"
    with serving(app_server, tmp_path, scope) as url:
        config = tmp_path / "config.yaml"
        config.write_text(CONTINUE.replace(ADDRESS, url), encoding="utf-8")
        answer = run([modules / ".bin" / "cn", "--config", config, "-p", "Hello!"], tmp_path)

    assert answer.strip() == FIRST
    assert only_agent(app_server, scope)


# aider is there for Pythons below 3.13.
if sys.version_info < (3, 13):

    def test_aider_asks_the_agent_of_its_key(app_server: AppServer, tmp_path: Path) -> None:
        scope, commands = someone(), environment_of("aider.toml")
        quiet = "--message 'Hello!' --chat-mode ask --no-git --yes-always --no-check-update --analytics-disable"
        with serving(app_server, tmp_path, scope) as url:
            lines = f"{AIDER.strip().replace(ADDRESS, url)} {quiet}"
            path = f"{commands}:{os.environ['PATH']}"
            answer = run(["bash", "-ec", lines], tmp_path, PATH=path)

        assert "You said: Hello!" in answer
        assert only_agent(app_server, scope)
