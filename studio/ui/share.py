"""The public link, through Gradio's own tunnel. The server stays ours; the tunnel only carries its port."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Final

import httpx
from gradio import networking, tunneling
from gradio.exceptions import ChecksumMismatchError, ShareCertificateWriteError

from studio.errors import StudioError

log = logging.getLogger(__name__)

OFFLINE: Final = (
    "No public link could be made ({why}); the studio goes on at its local address. "
    "Is this machine online, and does its firewall let the tunnel out?"
)
#: What the helper says when it has an address, at first and after each time it had to connect anew.
_ADDRESS: Final = re.compile(rb"start proxy success: (\S+)")
#: Seconds before a lost link is opened again, twice as many after each attempt that fails.
_SOON: Final = 2.0
_LATEST: Final = 300.0


class PublicLink:
    """Makes the local `port` reachable, notices when the tunnel is lost, and opens another.

    `opened` and `lost` are called with the public address, from a thread of the link's own once it stands.
    """

    def __init__(
        self, port: int, opened: Callable[[str], None], lost: Callable[[str], None], *, soon: float = _SOON
    ) -> None:
        self._port = port
        self._opened = opened
        self._lost = lost
        self._soon = soon
        self._closing = threading.Event()
        self._helper: Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, name="public link", daemon=True)
        self._address = ""

    def open(self) -> None:
        """Raises:
        StudioError: offline, refused, or the helper program is not the one Gradio published.
        """
        self._connect()
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._helper is not None:
            self._helper.terminate()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _connect(self) -> None:
        address, self._helper = _open_tunnel(self._port)
        self._came(address)

    def _came(self, address: str) -> None:
        if address != self._address:
            self._went()
            self._address = address
            self._opened(address)

    def _went(self) -> None:
        if self._address:
            self._lost(self._address)
            self._address = ""

    def _watch(self) -> None:
        while not self._closing.is_set():
            self._listen()
            if self._closing.is_set():
                return
            log.warning("the tunnel of %s is gone; opening another", self._address)
            self._went()
            pause = self._soon
            while not self._closing.wait(pause):
                try:
                    self._connect()
                except StudioError as offline:
                    log.warning("%s", offline)
                    pause = min(2 * pause, _LATEST)
                else:
                    break

    def _listen(self) -> None:
        """Until the helper ends. What it says is read in any case: a full pipe would stop it."""
        assert self._helper is not None
        assert self._helper.stdout is not None
        for line in self._helper.stdout:
            if (found := _ADDRESS.search(line)) is not None:
                self._came(found[1].decode(errors="replace"))
        with suppress(TimeoutExpired):
            self._helper.wait(timeout=10)


def _open_tunnel(port: int) -> tuple[str, Popen[bytes]]:
    """The public address, which lasts up to a week, and the helper that carries it."""
    try:
        tunneling.Tunnel.download_binary()
        _verify(Path(tunneling.BINARY_PATH))
        address: str = networking.setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except (
        ChecksumMismatchError,
        ShareCertificateWriteError,
        RuntimeError,
        ValueError,
        OSError,
        httpx.HTTPError,
    ) as why:
        raise StudioError(OFFLINE.format(why=str(why) or type(why).__name__)) from why
    helper: Popen[bytes] | None = tunneling.CURRENT_TUNNELS[-1].proc
    assert helper is not None, "it has just given its address"
    return address, helper


def _verify(binary: Path) -> None:
    """Gradio checks the helper only when it downloads it; a file changed since then would be run all the same."""
    published = tunneling.CHECKSUMS.get(tunneling.BINARY_URL)
    if published is None or hashlib.sha256(binary.read_bytes()).hexdigest() != published:
        raise ChecksumMismatchError
