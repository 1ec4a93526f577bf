"""Which addresses are the open internet's: a table of those that are, and of all that are not."""

import pytest

from gateway.pictures.addresses import is_public

PUBLIC = {
    "of a name server": "8.8.8.8",
    "of the web": "93.184.215.14",
    "just before the private ones": "9.255.255.255",
    "just behind those of carriers": "100.128.0.0",
    "by IPv6": "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "the first that are handed out": "2001:200::1",
    "a public IPv4 one in IPv6": "::ffff:8.8.8.8",
    "a public IPv4 one behind NAT64": "64:ff9b::8.8.8.8",
    "a public IPv4 one behind 6to4": "2002:808:808::1",
}
ELSEWHERE = {
    "this machine": "127.0.0.1",
    "this machine too": "127.255.255.254",
    "this machine by IPv6": "::1",
    "no address": "0.0.0.0",
    "this network": "0.1.2.3",
    "no address by IPv6": "::",
    "a private network": "10.1.2.3",
    "another private network": "172.16.0.1",
    "a network at home": "192.168.0.1",
    "a cloud's description of its machine": "169.254.169.254",
    "another cloud's": "100.100.100.200",
    "and another's": "192.0.0.192",
    "and one's by IPv6": "fd00:ec2::254",
    "a carrier's network": "100.64.0.1",
    "a private network by IPv6": "fd00::1",
    "this link by IPv6": "fe80::1",
    "a link by name": "fe80::1%lo",
    "a site of old": "fec0::1",
    "a network for benchmarks": "198.18.0.1",
    "one for documents": "203.0.113.1",
    "one for documents by IPv6": "2001:db8::1",
    "another for documents by IPv6": "3fff::1",
    "many at once": "224.0.0.1",
    "many on the internet at once": "233.252.0.1",
    "many at once by IPv6": "ff0e::1",
    "all": "255.255.255.255",
    "reserved": "240.0.0.1",
    "a relay": "192.88.99.1",
    "nowhere": "100::1",
    "segments of a route": "5f00::1",
    "a tunnel, Teredo": "2001:0:7f00:1::1",
    "this machine, mapped": "::ffff:127.0.0.1",
    "this machine, mapped, in hex": "::ffff:7f00:1",
    "a private one, mapped": "::ffff:10.0.0.1",
    "this machine in an IPv6 of old": "::127.0.0.1",
    "this machine, translated": "::ffff:0:127.0.0.1",
    "this machine behind 6to4": "2002:7f00:1::1",
    "a private one behind 6to4": "2002:a00:1::",
    "this machine behind NAT64": "64:ff9b::127.0.0.1",
    "a cloud's description behind NAT64": "64:ff9b::169.254.169.254",
    "a NAT64 of one's own": "64:ff9b:1::8.8.8.8",
}


@pytest.mark.parametrize("address", PUBLIC.values(), ids=PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", ELSEWHERE.values(), ids=ELSEWHERE)
def test_an_address_of_anywhere_else_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("text", ["localhost", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "", "[::1]"])
def test_what_is_no_address_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        is_public(text)
