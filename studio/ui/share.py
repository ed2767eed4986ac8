"""The public link, through Gradio's own tunnel. The server stays ours; the tunnel only carries its port."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import httpx
from gradio import networking, tunneling
from gradio.exceptions import ChecksumMismatchError, ShareCertificateWriteError

from studio.errors import StudioError

OFFLINE = (
    "No public link could be made ({why}); the studio goes on at its local address. "
    "Is this machine online, and does its firewall let the tunnel out?"
)


def open_tunnel(port: int) -> str:
    """Make the local `port` reachable and return the public address, which lasts up to a week.

    Raises:
        StudioError: offline, refused, or the helper program is not the one Gradio published.
    """
    try:
        tunneling.Tunnel.download_binary()
        _verify(Path(tunneling.BINARY_PATH))
        address: str = networking.setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
        return address
    except (
        ChecksumMismatchError,
        ShareCertificateWriteError,
        RuntimeError,
        ValueError,
        OSError,
        httpx.HTTPError,
    ) as why:
        raise StudioError(OFFLINE.format(why=str(why) or type(why).__name__)) from why


def _verify(binary: Path) -> None:
    """Gradio checks the helper only when it downloads it; a file changed since then would be run all the same."""
    published = tunneling.CHECKSUMS.get(tunneling.BINARY_URL)
    if published is None or hashlib.sha256(binary.read_bytes()).hexdigest() != published:
        raise ChecksumMismatchError
