"""Who is on this machine, by `Host` and `Origin`: as a browser writes them, and not as a lenient reader takes them."""

import pytest
from litestar.datastructures import Headers

from gateway.http.middleware import is_own_host, is_own_origin


def headers(name: str, values: tuple[str, ...]) -> Headers:
    return Headers([(name.encode(), value.encode("latin-1")) for value in values])


OWN_HOSTS = ["localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:65535"]
OTHER_HOSTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "an empty one": ("",),
    "another": ("gateway.example",),
    "one that begins like it": ("localhost.example",),
    "one that ends like it": ("evil.localhost",),
    "capitals": ("LOCALHOST",),
    "the root after it": ("localhost.",),
    "somebody before it": ("evil@localhost",),
    "somebody else's before it": ("evil.example@localhost:8000",),
    "a path": ("localhost/evil.example",),
    "a question": ("localhost?evil.example",),
    "a fragment": ("localhost#evil.example",),
    "a backslash": ("localhost\\evil.example",),
    "slashes before it": ("//localhost",),
    "a scheme": ("http://localhost",),
    "a space before it": (" localhost",),
    "a space in it": ("local host",),
    "a tab in it": ("local\thost",),
    "a line end after it": ("localhost\n",),
    "a port that is none": ("localhost:",),
    "a port with a letter": ("localhost:80a",),
    "a signed port": ("localhost:+80",),
    "the port 0": ("localhost:0",),
    "a port of six digits": ("localhost:100000",),
    "a port of other digits": ("localhost:\xb2",),
    "two in one": ("localhost, evil.example",),
    "two": ("localhost", "evil.example"),
    "the same twice": ("localhost", "localhost"),
    "another loopback address": ("127.0.0.2",),
    "an address of one number": ("2130706433",),
    "an address of two": ("127.1",),
    "an address with a zero": ("127.0.0.01",),
    "IPv6 written out": ("[0:0:0:0:0:0:0:1]",),
    "IPv6 with a zone": ("[::1%25lo]",),
    "IPv6 without brackets": ("::1",),
    "half of IPv6": ("[::1",),
    "IPv4 in IPv6": ("[::ffff:127.0.0.1]",),
    "every address": ("0.0.0.0",),
}
# Whatever is no host is none in an origin, but for its absence.
OTHER_ORIGINS: dict[str, tuple[str, ...]] = {
    **{name: tuple(f"http://{value}" for value in values) for name, values in OTHER_HOSTS.items() if values},
    "an empty one": ("",),
    "null": ("null",),
    "no scheme": ("localhost",),
    "slashes only": ("//localhost",),
    "an app": ("app://localhost",),
    "a scheme in capitals": ("HTTP://localhost",),
    "a path": ("http://localhost/",),
    "two in one": ("http://localhost http://evil.example",),
    "two": ("http://localhost", "https://evil.example"),
}


@pytest.mark.parametrize("value", OWN_HOSTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_browser_on_this_machine_says_so(value: str, scheme: str) -> None:
    assert is_own_host(headers("host", (value,)))
    assert is_own_origin(headers("origin", (f"{scheme}://{value}",)))


def test_who_is_no_web_page_has_no_origin() -> None:
    assert is_own_origin(Headers({}))


@pytest.mark.parametrize("values", OTHER_HOSTS.values(), ids=OTHER_HOSTS)
def test_any_other_host_is_elsewhere(values: tuple[str, ...]) -> None:
    assert not is_own_host(headers("host", values))


@pytest.mark.parametrize("values", OTHER_ORIGINS.values(), ids=OTHER_ORIGINS)
def test_any_other_origin_is_elsewhere(values: tuple[str, ...]) -> None:
    assert not is_own_origin(headers("origin", values))
