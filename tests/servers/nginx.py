"""nginx, told as `deploy/nginx` tells it, in front of gateways of a test's own."""

import grp
import os
import pwd
import re
import shutil
from pathlib import Path

import pytest

from tests.readme import ROOT

PRINTED = ROOT / "deploy/nginx/letta-gateway.conf"
# What nginx.conf says around the file that the guide prints, and where it may write.
AROUND = """
user {user} {group};
daemon off;
pid {here}/pid;
error_log stderr;
events {{ worker_connections 4096; }}
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


def replaced(text: str, **changes: str) -> str:
    """What is printed, with the operator's own names in the place of the printed ones."""
    for printed, own in changes.items():
        assert printed in text
        text = text.replace(printed, own)
    return text


def nginx_command(here: Path, **changes: str) -> list[str]:
    """Starts it with what is printed, in which these words are others; `here` is its own directory."""
    server = replaced(PRINTED.read_text(encoding="utf-8"), **changes)
    return _command(here, server)


def plain_nginx_command(here: Path, port: int, gateways: list[str]) -> list[str]:
    """Starts it in front of several gateways, in turn, for clients that come without TLS. Skips where it is missing."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx)")
    own = {
        "listen 80;": f"listen unix:{here}/other;",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{port};",
        "    server 127.0.0.1:8000;\n": "".join(f"    server {gateway};\n" for gateway in gateways),
    }
    server = replaced(PRINTED.read_text(encoding="utf-8"), **own)
    return _command(here, re.sub(r"^ *ssl_.*\n", "", server, flags=re.MULTILINE))


def _command(here: Path, server: str) -> list[str]:
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    (here / "nginx.conf").write_text(AROUND.format(user=user, group=group, here=here, server=server))
    return ["nginx", "-e", "stderr", "-c", str(here / "nginx.conf")]
