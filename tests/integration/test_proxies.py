"""The proxies of the guide, configured as it prints them, in front of a gateway with a Letta of its own."""

import grp
import os
import pwd
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from gateway.configuration import PROVIDERS
from tests.gateways import KEY, GatewayProcess, chat, said
from tests.integration.words import someone
from tests.printed import blocks
from tests.servers.health import await_health, held_port

PRINTED = {block.name: block.text for block in blocks("deploy/guide/proxies.md")}
NAME, GATEWAY = "chat.example.org", "127.0.0.1:8000"
CONFIG = f'[[agent_types]]\nid = "tutor"\n[[keys]]\nname = "programs"\nkey = "{KEY}"\n'
# What nginx.conf says around the file that the guide prints, and where it may write.
AROUND = """
user {user} {group};
daemon off;
pid {here}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    {server}
}}
"""
START_SECONDS = 30


def replaced(text: str, **changes: str) -> str:
    """What is printed, with the operator's own names in the place of the printed ones."""
    for printed, own in changes.items():
        assert printed in text
        text = text.replace(printed, own)
    return text


def nginx(here: Path, port: int, gateway: str) -> list[str]:
    own = {
        "443": f"127.0.0.1:{port}",
        f"/etc/ssl/{NAME}.pem": str(here / "certificate"),
        f"/etc/ssl/{NAME}.key": str(here / "key"),
        GATEWAY: gateway,
    }
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    server = replaced(PRINTED["letta-gateway.conf"], **own)
    (here / "nginx.conf").write_text(AROUND.format(user=user, group=group, here=here, server=server))
    return ["nginx", "-e", "stderr", "-c", str(here / "nginx.conf")]


def caddy(here: Path, port: int, gateway: str) -> list[str]:
    # Who has no name of their own brings a certificate along.
    own = {f"{NAME} {{": f"https://127.0.0.1:{port} {{\n\ttls {here}/certificate {here}/key", GATEWAY: gateway}
    (here / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{replaced(PRINTED['Caddyfile'], **own)}")
    return ["caddy", "run", "--config", str(here / "Caddyfile")]


@pytest.fixture(scope="module")
def gateway_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("gateway")
    (directory / "gateway.toml").write_text(CONFIG)
    state, environ = ("--state", str(directory / "state")), {variable: "" for variable, _, _ in PROVIDERS}
    with GatewayProcess(directory / "gateway.toml", *state, **environ) as process:
        yield process.base_url


@pytest.fixture(scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
def client(
    request: pytest.FixtureRequest, gateway_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A client that knows the proxy and nothing of the gateway behind it."""
    name = request.param.__name__
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {name})")
    here, authority = tmp_path_factory.mktemp(name), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(here / "certificate")
    certificate.private_key_pem.write_to_path(here / "key")
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    with held_port() as port, (here / "log").open("wb") as log:
        command = request.param(here, port, gateway_url.removeprefix("http://"))
        environ = {"PATH": os.environ["PATH"], "HOME": str(here)}
        url, headers = f"https://127.0.0.1:{port}", {"authorization": f"Bearer {KEY}"}
        with subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process:
            try:
                await_health(process, f"{url}/healthz", here / "log", START_SECONDS, verify=trusting)
                with httpx.Client(base_url=url, headers=headers, verify=trusting, timeout=60) as proxied:
                    yield proxied
            finally:
                process.terminate()


def test_a_stream_comes_piece_by_piece_and_who_leaves_stops_the_agent(client: httpx.Client) -> None:
    body = chat("!hang-after one two", user=someone(), metadata={"chat_id": "one"})
    with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if "two" in line:
                break
    # It would wait in line for the turn before it.
    after = client.post("/v1/chat/completions", json={**body, "messages": chat("and on")["messages"]})

    assert said(after.text)["content"].endswith("You said: and on")


def test_a_message_as_large_as_one_with_a_picture_gets_through(client: httpx.Client) -> None:
    response = client.post("/v1/chat/completions", json=chat(user=someone(), ignored="x" * 3_000_000))

    assert response.status_code == 200


def test_the_page_that_says_how_to_connect_tells_the_proxy_s_address(client: httpx.Client) -> None:
    assert str(client.base_url).rstrip("/") in client.get("/connect").text
