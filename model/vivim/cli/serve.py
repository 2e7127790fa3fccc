"""``vivim serve``: let other machines propose and fine-tune on this one's device."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import ssl
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vivim.cli.options import add_device, positive
from vivim.devices import choose_device
from vivim.remote.config import is_address, is_loopback, server_token
from vivim.remote.protocol import RemoteError
from vivim.settings import vivim_home
from vivim.utils.atomic_files import sweep

if TYPE_CHECKING:
    from vivim.remote.server import Serving

TOKEN_FILE = "serve-token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Let other machines propose and fine-tune on this one's device. Only this machine can connect unless --host is "
        "given; whoever connects needs the token, which is made at the first start and kept in a file that you alone "
        "can read. Frames, masks and weights are held in memory while a job runs; nothing is kept."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine alone)"
    )
    parser.add_argument("--port", type=int, default=8765, help="port to listen on (default: 8765)")
    parser.add_argument(
        "--certificate", type=Path, metavar="PEM", help="TLS: the certificate, with its chain"
    )
    parser.add_argument("--key", type=Path, metavar="PEM", help="TLS: its private key")
    parser.add_argument(
        "--without-tls",
        action="store_true",
        help="listen in the open on --host: only behind a proxy that does TLS",
    )
    parser.add_argument(
        "--proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="a proxy before this server, as 127.0.0.1: clients are told apart by the last address of its header "
        "X-Forwarded-For (may be given several times)",
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="where the token is kept")
    parser.add_argument("--show-token", action="store_true", help="print the token and end")
    parser.add_argument(
        "--clients", type=positive, default=16, metavar="N", help="connections at once (default: 16)"
    )
    parser.add_argument(
        "--queue", type=positive, default=8, metavar="N", help="jobs, running and waiting (default: 8)"
    )
    parser.add_argument(
        "--max-frames",
        type=positive,
        default=200_000,
        metavar="N",
        help="frames of one request (default: 200000)",
    )
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Serve until told to stop by Ctrl-C or a signal."""
    path = args.token_file or vivim_home() / TOKEN_FILE
    token = server_token(path)
    if args.show_token:
        print(token)
        return {"token_file": str(path)}
    return asyncio.run(_serve(_serving(args, token), path))


def _serving(args: argparse.Namespace, token: str) -> Serving:
    """The options, checked.

    Raises `RemoteError` if they would let the token and the pictures travel in the open, or the certificate cannot be
    used.
    """
    from vivim.remote.limits import Limits
    from vivim.remote.server import Serving

    if (args.certificate is None) != (args.key is None):
        raise RemoteError("TLS needs both --certificate and --key.")
    if args.certificate is None and not is_loopback(args.host) and not args.without_tls:
        raise RemoteError(
            f"On {args.host} others could read the token and the pictures. Give --certificate and --key, or "
            "--without-tls behind a proxy that does TLS."
        )
    for proxy in args.proxy:
        if not is_address(proxy):
            raise RemoteError(f"{proxy!r} is not an address. Give the proxy's, as 127.0.0.1.")
    choose_device(args.device)
    limits = Limits(clients=args.clients, queue=args.queue, frames=args.max_frames)
    tls, proxies = _tls(args.certificate, args.key), frozenset(args.proxy)
    return Serving(token, args.host, args.port, tls, args.device, limits, proxies)


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise RemoteError(f"The certificate {certificate} with its key cannot be used: {error}") from error
    return context


async def _serve(serving: Serving, token_file: Path) -> dict:
    from vivim.remote.server import Server

    until, loop = asyncio.Event(), asyncio.get_running_loop()
    if sys.platform != "win32":  # there Ctrl-C ends the loop by itself
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, until.set)
    sweep(Path(tempfile.gettempdir()))
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(message)s")
    logging.getLogger("vivim.remote.server").setLevel(logging.INFO)

    def ready(port: int) -> None:
        scheme = "https" if serving.tls else "http"
        print(f"serving on {scheme}://{serving.host}:{port}", flush=True)
        print(f"the token is in {token_file}; clients need it in a file of their own", flush=True)

    await Server(serving).run(until, ready)
    print("stopped; nothing was kept")
    return {"stopped": True}
