"""The log of a gateway in use, from its start over a restart to its end: what happened, to whom, and why."""

import re
from pathlib import Path

import httpx

from tests.gateways import GatewayProcess, chat, http
from tests.test_smoke import NO_PROVIDER

CONFIG = """
[server]
chat_page = true

[letta]
upstream = "embedded"
state = "{state}"

[[agent_types]]
id = "tutor"

[[keys]]
name = "the web"
key = "sk-canary-web"
user_from = ["header:X-User"]

[[keys]]
name = "scripts"
key = "sk-canary-scripts"
"""
URL = "/v1/chat/completions"
# The beginning of a line of `gateway.access`, and what in it differs from one day to the next.
LINE = re.compile(r".* (INFO|WARNING) gateway\.access req_[0-9a-f]{32} (.*)\n")
VARIES = re.compile(r"(?<= )(?:\d+|-) ms|(?<=first=)\d+ms|(?<=tokens=)\d+\+\d+|(?<=tutor-)[0-9a-f]{12}")


def lines_of(process: GatewayProcess) -> list[str]:
    """The lines of its requests, without dates, ids and numbers that vary."""
    found = [LINE.fullmatch(line) for line in process.log]
    return [f"{line[1]} {VARIES.sub('*', line[2])}" for line in found if line]


def said(script: str, **more: object) -> dict[str, object]:
    return chat(f"{script}\ncanary-prompt", user="canary-ada", **more)


def use(url: str) -> None:
    with http(url, "sk-canary-web") as web, http(url, "sk-canary-scripts") as scripts, httpx.Client() as other:
        for path in ("/healthz", "/readyz", "/", "/web/main.js", "/web/style.css"):
            assert other.get(f"{url}{path}").status_code == 200
        web.get("/v1/models")
        told = {"stream": True, "stream_options": {"include_usage": True}}
        web.post(URL, json=chat("canary-prompt", **told), headers={"X-User": "canary-ada"})
        web.post(URL, json=chat("canary-prompt"), headers={"X-User": "canary-ada", "X-Task": "title_generation"})
        web.post(URL, json=chat("canary-prompt"))
        scripts.post(URL, json=said("hello"), headers={"Idempotency-Key": "canary-once"})
        scripts.post(URL, json=said("hello"), headers={"Idempotency-Key": "canary-once"})
        scripts.post(URL, json=said("hello", model="gpt-4o"))
        scripts.post("/chat/completions", json=said("hello"))
        scripts.get("/canary-ada/notes?of=canary-ada")
        other.post(f"{url}{URL}", json=said("hello"), headers={"Authorization": "Bearer sk-canary-wrong"})
        for script in ("!fail 401", "!fail 429", "!fail 500"):
            scripts.post(URL, json=said(script))
        with scripts.stream("POST", URL, json=said("!hang-after one two", stream=True)) as response:
            next(line for line in response.iter_lines() if '"two"' in line)


def test_the_log_of_a_gateway_in_use_says_what_happened_to_whom_and_why(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.format(state=tmp_path / "state"))
    with GatewayProcess(config, **NO_PROVIDER) as process:
        use(process.base_url)
        process.stop()
    with GatewayProcess(config, **NO_PROVIDER) as again:
        with http(again.base_url, "sk-canary-scripts") as scripts:
            scripts.post(URL, json=said("hello"))
        again.stop()

    asked, who = f"POST {URL}", "key=scripts model=tutor agent=tutor-*"
    assert lines_of(process) == [
        "INFO GET / 200 *",
        'INFO GET /v1/models 200 * key="the web"',
        f'INFO {asked} 200 * key="the web" model=tutor agent=tutor-* first=* tokens=*',
        f'INFO {asked} 200 * key="the web" model=tutor task=title_generation',
        f'INFO {asked} 400 * user_required key="the web" model=tutor param=user '
        'why="This key needs to know who is asking: send the header `x-user`."',
        f"INFO {asked} 200 * {who} tokens=*",
        f"INFO {asked} 200 * {who} joined=yes tokens=*",
        f"INFO {asked} 404 * model_not_found key=scripts asked=gpt-4o param=model",
        'INFO POST /chat/completions 404 * unknown_url why="The base URL ends with /v1"',
        "INFO GET /…/… 404 * unknown_url",
        f'INFO {asked} 401 * invalid_api_key why="Incorrect API key provided."',
        f"WARNING {asked} 502 * model_authentication {who} "
        'why="ModelRefused: the model\'s provider: status 401, `authentication_error`"',
        f"WARNING {asked} 429 * rate_limit_exceeded {who} "
        'why="RateLimited: the model\'s provider: status 429, `rate_limit_error`"',
        f'WARNING {asked} 502 * model_error {who} why="ModelFailed: the model\'s provider: status 500, `server_error`"',
        f"INFO {asked} 200 * client_left {who} first=*",
    ]
    assert lines_of(again) == [f"INFO {asked} 200 * {who} tokens=*"]
    assert [line for line in process.log + again.log if "canary" in line or "Traceback" in line] == []
