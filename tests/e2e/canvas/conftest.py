"""A page with one canvas of each kind, on a screen and on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.e2e.canvas.easel import (
    Easel,
    opened,
)
from tests.e2e.canvas.page import Received, served
from tests.e2e.conftest import PATIENCE


@pytest.fixture(scope="module")
def received() -> Received:
    return Received()


@pytest.fixture(scope="module")
def address(received: Received) -> Iterator[str]:
    with served(received) as address:
        yield address


@pytest.fixture
def easel(context: BrowserContext, address: str, received: Received) -> Easel:
    return opened(context.new_page(), address, received)


@pytest.fixture
def phone(chromium: Browser, address: str, received: Received) -> Iterator[Easel]:
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2
    )
    context.set_default_timeout(PATIENCE)
    yield opened(context.new_page(), address, received)
    context.close()
