"""The IP addresses of the open internet, told from those of private networks. Performs no I/O."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

# https://www.iana.org/assignments/ipv6-address-space: all that is handed out to anybody.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# https://www.rfc-editor.org/rfc/rfc6052#section-2.1
_NAT64 = IPv6Network("64:ff9b::/96")
# Networks that some version of Python takes for global, for it has the registries of its time; they are not:
# https://www.iana.org/assignments/iana-ipv4-special-registry
# https://www.iana.org/assignments/iana-ipv6-special-registry
_SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20")))


def is_public(text: str) -> bool:
    """True if the IP address belongs to the open internet. Raises ValueError for a text that is no address."""
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if inner := _within(address):
            return is_public(str(inner))
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _SPECIAL)


def _within(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which packets for this IPv6 address go in the end; None if there is none."""
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour
