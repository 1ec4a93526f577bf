"""The chat page as it is served: where, with what headers, to whom with a key, and made of what."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import gateway.http
from gateway.settings import Secret
from tests.gateways import gateway as gateway_of
from tests.http.elements import Elements
from tests.servers.fake_letta import FakeLetta

WEB = Path(gateway.http.__file__).parent / "pages" / "web"
FILES = sorted(path.name for path in WEB.iterdir())
PAGE_KEY = "sk-\"of<the>demo&'"
POLICY = [
    "default-src 'self'",
    "img-src 'self' data: blob:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A gateway with the page, and with a key in it."""
    with (
        FakeLetta() as letta,
        gateway_of(letta.base_url, chat_page=True, page_key=Secret(PAGE_KEY)) as base_url,
    ):
        yield base_url


def key_in(html: str) -> str | None:
    return next(
        attributes["content"] for _, attributes in Elements(html).found if attributes.get("name") == "gateway-key"
    )


def test_the_chat_page_stands_where_it_is_asked_for(letta: FakeLetta) -> None:
    with gateway_of(letta.base_url, chat_page=True) as on, gateway_of(letta.base_url) as off:
        chat, connect = httpx.get(on), httpx.get(f"{on}/connect")
        instead, same = httpx.get(off), httpx.get(f"{off}/connect")
        files = httpx.get(f"{off}/web/main.js")

    assert 'id="composer"' in chat.text
    assert 'href="connect"' in chat.text
    assert [f">{address}/v1<" in page.text for address, page in ((on, connect), (off, instead), (off, same))] == [
        True
    ] * 3
    assert (files.status_code, files.json()["error"]["code"]) == (404, "unknown_url")


def test_the_page_may_load_what_the_gateway_serves_and_nothing_else(url: str) -> None:
    page, file = httpx.get(url), httpx.get(f"{url}/web/main.js")

    for response in (page, file):
        assert response.headers["content-security-policy"].split("; ") == POLICY
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["x-request-id"].startswith("req_")
    # It may hold a key.
    assert page.headers["cache-control"] == "no-store"
    assert file.headers["cache-control"] == "no-cache"


TYPES = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_served_as_what_it_is(url: str, name: str) -> None:
    response = httpx.get(f"{url}/web/{name}")

    assert response.content == (WEB / name).read_bytes()
    assert response.headers["content-type"].partition(";")[0] == TYPES[name.rpartition(".")[2]]


@pytest.mark.parametrize(
    "path", ["web/none.js", "web/../page.py", "web/%2e%2e/page.py", "web/..%2fpage.py", "web//etc/passwd"]
)
def test_no_other_file_is_served(url: str, path: str) -> None:
    response = httpx.get(f"{url}/{path}")

    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_url")


HERE = {
    "by its address": {},
    "by its name": {"host": "localhost:8000"},
    "over IPv6": {"host": "[::1]:8000"},
    "from the address bar": {"sec-fetch-site": "none"},
    "from a page of its own": {"sec-fetch-site": "same-origin"},
}
ELSEWHERE = {
    "by the address of the network": {"host": "192.168.1.7:8000"},
    "by a name that leads here": {"host": "127.0.0.1.evil.example:8000"},
    "by no name": {"host": ""},
    "by half a name": {"host": "[::1"},
    "by a name with somebody before it": {"host": "evil@localhost"},
    "from a page elsewhere": {"sec-fetch-site": "cross-site"},
    "from another port": {"sec-fetch-site": "same-site"},
    "through a proxy": {"x-forwarded-for": "203.0.113.7"},
    "through another proxy": {"forwarded": "for=203.0.113.7"},
}


@pytest.mark.parametrize("headers", HERE.values(), ids=HERE)
def test_who_opens_the_page_on_this_machine_finds_the_key_in_it(url: str, headers: dict[str, str]) -> None:
    assert key_in(httpx.get(url, headers=headers).text) == PAGE_KEY


@pytest.mark.parametrize("headers", ELSEWHERE.values(), ids=ELSEWHERE)
def test_whoever_else_opens_it_finds_none(url: str, headers: dict[str, str]) -> None:
    response = httpx.get(url, headers=headers)

    assert response.status_code == 200
    assert key_in(response.text) == ""


def test_without_a_key_of_the_demo_s_there_is_none_in_the_page(letta: FakeLetta) -> None:
    with gateway_of(letta.base_url, chat_page=True) as url:
        assert key_in(httpx.get(url).text) == ""


def test_the_page_takes_nothing(url: str) -> None:
    posted, head = httpx.post(url), httpx.head(url)

    assert (posted.status_code, posted.json()["error"]["code"]) == (405, "method_not_supported")
    assert (head.status_code, head.content) == (200, b"")


# Ways in which text becomes HTML or a program.
PARSING = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|setHTML|parseHTML|DOMParser|createContextualFragment|document\.write|srcdoc"
    r"|\beval\b|new Function|setTimeout\(\s*[\"'`]|setAttribute\(\s*[\"']on|javascript:",
    re.IGNORECASE,
)


@pytest.mark.parametrize("name", FILES)
def test_no_text_becomes_html_or_a_program(name: str) -> None:
    assert PARSING.findall((WEB / name).read_text(encoding="utf-8")) == []


def test_nothing_is_loaded_from_elsewhere() -> None:
    texts = {name: (WEB / name).read_text(encoding="utf-8") for name in FILES}
    elements = Elements(texts["index.html"]).found
    loaded = [attributes.get("src") or attributes.get("href") for _, attributes in elements]
    imports = [found for text in texts.values() for found in re.findall(r"(?:from|import)\s+\"(.*?)\"", text)]

    assert {address for address in loaded if address} == {
        *("web/icon.svg", "web/style.css", "web/list.css", "web/contrast.css", "web/main.js"),
        *("#say", "connect"),
    }
    assert {name.removeprefix("./") for name in imports} <= set(FILES)
    styles = [text for name, text in texts.items() if name.endswith(".css")]
    assert [text for text in styles if "url(" in text or "@import" in text] == []


def test_the_page_brings_nothing_that_its_policy_refuses() -> None:
    elements = Elements((WEB / "index.html").read_text(encoding="utf-8")).found

    assert [attributes["src"] for tag, attributes in elements if tag == "script"] == ["web/main.js"]
    assert [tag for tag, _ in elements if tag in ("style", "base", "iframe", "object")] == []
    assert [name for _, attributes in elements for name in attributes if name == "style" or name.startswith("on")] == []
