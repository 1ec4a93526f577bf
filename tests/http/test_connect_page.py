"""The page at `/connect`: what it says to whom, what it lets a browser do, and that what it says to run runs."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape

import httpx
import pytest

from gateway.settings import OPEN_WEBUI_HEADERS, AgentType
from tests.gateways import KEY, MODEL_HANDLE, gateway
from tests.http.elements import Elements
from tests.servers.fake_letta import FakeLetta

ODD_TYPES = tuple(AgentType(id=id, model=MODEL_HANDLE) for id in ("o'dd\"<b>$curl", "team/ops"))
ANSWER = "<think>Hm. </think>Hello"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A gateway with keys; the page takes nothing from one test to the next."""
    with FakeLetta() as letta, gateway(letta.base_url) as base_url:
        yield base_url


def snippet(html: str, beginning: str) -> str:
    """The block of code that begins so, as a person copies it."""
    blocks = [unescape(block) for block in re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", html, re.DOTALL)]
    return next(block for block in blocks if block.startswith(beginning))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def send_as_curl(line: str) -> str:
    """What a line gets that begins with `curl -N URL`, read by the shell; curl itself need not be here."""
    words = run("sh", "-c", 'curl() { printf "%s\\0" "$@"; }\n' + line).stdout.split("\0")[:-1]
    flag, address, *pairs = words
    options = list(zip(pairs[::2], pairs[1::2], strict=True))
    headers = [
        (name, value.strip()) for option, text in options if option == "-H" for name, _, value in [text.partition(":")]
    ]
    (body,) = [text for option, text in options if option == "-d"]
    assert flag == "-N"
    return httpx.post(address, headers=headers, content=body).text


def test_the_page_needs_no_key_and_says_how_to_connect(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url:
        response = httpx.get(url)

    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers["x-request-id"].startswith("req_")
    for words in (f">{url}/v1<", "Bearer KEY", "GET /v1/models", "ENABLE_FORWARD_USER_INFO_HEADERS=true", "Needed."):
        assert words in response.text
    assert letta.requests == []


def test_the_page_stands_at_connect_and_at_the_root(url: str) -> None:
    assert httpx.get(url).text == httpx.get(f"{url}/connect").text


def test_the_page_gives_the_headers_that_open_webui_fills_in(url: str) -> None:
    page = httpx.get(f"{url}/").text

    assert json.dumps(OPEN_WEBUI_HEADERS) in unescape(page)


def test_a_head_request_gets_the_headers_alone(url: str) -> None:
    got, asked = httpx.get(url), httpx.head(url)

    varying = ("date", "x-request-id")
    of_got, of_asked = ([h for h in r.headers.items() if h[0] not in varying] for r in (got, asked))
    assert (asked.status_code, asked.content, of_asked) == (200, b"", of_got)


def test_the_page_tells_nothing_that_a_key_opens(letta: FakeLetta) -> None:
    with gateway(letta.base_url, types=ODD_TYPES) as url:
        html = httpx.get(url).text

    assert [secret for secret in (KEY, "programs", "frontend", "team/ops", MODEL_HANDLE) if secret in html] == []


def test_a_gateway_without_keys_names_its_models(letta: FakeLetta) -> None:
    with gateway(letta.base_url, types=ODD_TYPES, keys=()) as url:
        html = httpx.get(url).text

    assert "None. Without keys" in html
    assert "Bearer" not in html
    ids = [unescape(id) for id in re.findall(r'<code class="all">(.*?)</code>', html)]
    assert {agent_type.id for agent_type in ODD_TYPES} <= set(ids)
    assert [tag for tag, _ in Elements(html).found].count("b") == 3  # the numbers of the steps


@pytest.mark.parametrize(("host", "shown"), [
    ("gateway.example", "http://gateway.example/v1"),
    ("GATEWAY:80", "http://GATEWAY:80/v1"),
    ("[::1]:8000", "http://[::1]:8000/v1"),
    ("my_service:8000", "http://my_service:8000/v1"),
])  # fmt: skip
def test_the_address_is_the_one_by_which_the_gateway_was_asked(url: str, host: str, shown: str) -> None:
    html = httpx.get(url, headers={"host": host}).text

    assert html.count(f'<code class="all">{shown}</code>') == 2
    assert f"{shown}/chat/completions" in html
    assert f'base_url="{shown}"' in html


ODD_HOSTS = {
    "nothing": "",
    "a script": "<script>alert(1)</script>",
    "a script after a name": "gateway.example<script>",
    "a quote": "gateway.example'; rm -rf ~; '",
    "a path": "gateway.example/evil",
    "somebody else's name": "user@gateway.example",
    "a port that is none": "gateway.example:port",
    "half an address": "[::1",
    "an entity": "&lt;b&gt;",
    "letters that only look like some": "gäteway",
    "no end": "a" * 1000,
}


@pytest.mark.parametrize("host", ODD_HOSTS.values(), ids=ODD_HOSTS)
def test_a_host_that_can_be_none_is_not_repeated(url: str, host: str) -> None:
    response = httpx.get(url, headers={b"host": host.encode()})

    # Some of it, the HTTP parser refuses before anybody reads it.
    assert response.status_code in (200, 400)
    assert not host or host not in response.text
    assert "script" not in [tag for tag, _ in Elements(response.text).found]
    assert response.status_code == 400 or "this server's address + <code>/v1</code>" in response.text


def test_a_browser_may_load_the_style_of_the_page_and_nothing_else(url: str) -> None:
    response = httpx.get(url)

    (style,) = re.findall(r"<style>(.*?)</style>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = [part.strip() for part in response.headers["content-security-policy"].split(";")]
    assert policy[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"


def test_the_page_brings_nothing_that_its_policy_refuses(url: str) -> None:
    elements = Elements(httpx.get(url).text).found

    loading = {"script", "img", "link", "iframe", "form", "base", "object"}
    assert [tag for tag, _ in elements if tag in loading] == []
    assert [name for _, attributes in elements for name in attributes if name == "style" or name.startswith("on")] == []


def test_what_the_page_says_to_run_runs(letta: FakeLetta) -> None:
    with gateway(letta.base_url, types=ODD_TYPES, keys=()) as url:
        html = httpx.get(url).text
        program = run(sys.executable, "-c", snippet(html, "from openai"))
        sent = send_as_curl(snippet(html, "curl"))

    assert (program.stdout, program.stderr) == (ANSWER, "")
    assert sent.endswith("data: [DONE]\n\n")


def test_what_the_page_says_to_run_runs_with_key_and_model_filled_in(url: str) -> None:
    html = httpx.get(url).text
    lines = snippet(html, "from openai").replace("KEY", KEY).replace("MODEL", "tutor")
    program = run(sys.executable, "-c", lines)

    assert "Fill in <code>KEY</code>, <code>MODEL</code>." in html
    assert (program.stdout, program.stderr) == (ANSWER, "")


def test_the_page_takes_nothing(url: str) -> None:
    posted, beside = httpx.post(url), httpx.get(f"{url}/index.html")

    assert (posted.status_code, posted.json()["error"]["code"]) == (405, "method_not_supported")
    assert {"GET", "HEAD"} <= set(posted.headers["allow"].split(", "))
    assert (beside.status_code, beside.json()["error"]["code"]) == (404, "unknown_url")
