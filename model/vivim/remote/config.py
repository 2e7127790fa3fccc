"""Configuration of client and server: address, token, and certificate authority.

The address comes from ``VIVIM_REMOTE`` or the settings (`vivim.settings`); the token from ``VIVIM_REMOTE_TOKEN`` or a
file that only its owner can read. Neither is ever part of an address or a log.
"""

import ipaddress
import os
import secrets
import stat
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from vivim.devices import REMOTE
from vivim.remote.protocol import RemoteError
from vivim.settings import settings, vivim_home

ADDRESS = "VIVIM_REMOTE"
TOKEN = "VIVIM_REMOTE_TOKEN"
TOKEN_FILE = "VIVIM_REMOTE_TOKEN_FILE"
AUTHORITY = "VIVIM_REMOTE_CA"


def remote_device() -> str | None:
    """Return the device ``"remote:https://host:port"`` that is configured, or None."""
    address = os.environ.get(ADDRESS) or settings().remote_address
    if not address:
        return None
    split_address(REMOTE + address)
    return REMOTE + address


def split_address(device: str) -> tuple[str, int, bool]:
    """Split ``"remote:https://host:port"`` into host, port, and whether TLS is used, a must for other machines."""
    parts = urlsplit(device.removeprefix(REMOTE))
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    plain = not (parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"))
    if parts.scheme not in ("https", "http") or not host or not plain:
        raise RemoteError("A remote device is written remote:https://host:port, without anything else.")
    if parts.scheme == "http" and not is_loopback(host):
        raise RemoteError(
            f"{host} is another machine: use https, so that nobody on the way can read the token and the pictures."
        )
    return host, port or 8765, parts.scheme == "https"


def client_token() -> str:
    """Return the token for the server. Raises `RemoteError` if there is none, or others can read its file."""
    if token := os.environ.get(TOKEN):
        return token
    named = os.environ.get(TOKEN_FILE) or settings().remote_token_file
    path = Path(named) if named else vivim_home() / "remote-token"
    if not path.is_file():
        raise RemoteError(
            f"No token for the server: put it into {path}, readable by you alone, or into {TOKEN}."
        )
    return read_token(path)


def read_token(path: Path) -> str:
    """Read the token in a file. Raises `RemoteError` if others can read it, or it holds no token."""
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise RemoteError(f"Others can read the token in {path}. Run: chmod 600 {path}")
    token = path.read_text().strip()
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise RemoteError(f"{path} holds no token: it must be one word of at least 16 characters.")
    return token


def server_token(path: Path) -> str:
    """Read the token of a server, or make it in a file that only its owner can read."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
        return read_token(path)
    except OSError as error:
        raise RemoteError(f"The token cannot be kept in {path}: {error.strerror or error}.") from error


def authority() -> str | None:
    """File of the certificate authority, where it is not one that the system knows."""
    return os.environ.get(AUTHORITY) or settings().remote_ca or None


def preferred_device(remote: bool = True) -> str:
    """Return the device in the settings, or ``"auto"`` where that is a server but none is configured or wanted."""
    name = settings().device
    if name != "remote":
        return name
    return (remote_device() if remote else None) or "auto"


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
    """Identify a client by its IPv4 address, or by its IPv6 network of 64 bits, which belongs to one subscriber.

    Behind a trusted proxy only the last address that it forwards counts, the one that the proxy itself has seen.
    """
    if peer in proxies and forwarded:
        peer = forwarded[-1].rpartition(",")[2].strip()
    if not is_address(peer):
        return "unknown"
    address = ipaddress.ip_address(peer)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)
