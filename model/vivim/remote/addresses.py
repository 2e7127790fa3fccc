"""Which addresses only this machine can reach, and which client an address stands for."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence


def is_address(text: str) -> bool:
    """Whether a text is an address of a machine, not a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    if host == "localhost":
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def client_of(peer: str, forwarded: Sequence[str], proxies: Collection[str]) -> str:
    """By what a client is counted: its address, of IPv6 the network of 64 bits that is one subscriber's.

    Parameters
    ----------
    peer : str
        Who has connected.
    forwarded : sequence of str
        The headers ``X-Forwarded-For`` of its request.
    proxies : collection of str
        Whose headers are believed, and of them only the last address: the one that the proxy itself has seen. What
        stands before it anybody may have written.
    """
    if peer in proxies and forwarded:
        peer = forwarded[-1].rpartition(",")[2].strip()
    if not is_address(peer):
        return "unknown"
    address = ipaddress.ip_address(peer)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)
