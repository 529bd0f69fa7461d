"""A real headless Chromium, driven by Playwright, which records everything that a page complains about."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.servers.processes import wait_for


@dataclass
class OpenPage:
    """A page, and its errors so far: of the console, of scripts, and of requests."""

    page: Any
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """requests to another place than the page's own"""

    def on_failed_request(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page was left while it still loaded
            self.errors.append(f"{request.url}: {request.failure}")

    def wait(self, expression: str, seconds: float = 20) -> None:
        """Waits until a JavaScript expression is true. Playwright's own way is `eval`, which the page's policy forbids."""
        wait_for(lambda: bool(self.page.evaluate(expression)), seconds, expression)


def chromium_program() -> str | None:
    """Path of the browser, if it is installed (`.ci/run` does)."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def chromium(args: Sequence[str] = ()) -> Iterator[Any]:
    """A new browser, with further arguments. Skips the test where there is none."""
    program = chromium_program()
    if program is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=["--mute-audio", *as_root, *args])
        yield browser
        browser.close()


@contextmanager
def open_page(address: str, args: Sequence[str] = (), **options: Any) -> Iterator[OpenPage]:
    """Opens an address in a new browser, with further arguments. Skips the test where there is no browser."""
    origin = "/".join(address.split("/")[:3])
    with chromium(args) as browser:
        page = browser.new_page(**options)
        opened = OpenPage(page)
        page.on("console", lambda message: opened.errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: opened.errors.append(str(error)))
        page.on("requestfailed", opened.on_failed_request)
        page.on(
            "request",
            lambda request: None if request.url.startswith((origin, "blob:", "data:")) else opened.foreign.append(request.url),
        )
        page.goto(address)
        yield opened
