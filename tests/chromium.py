"""A headless Chromium that tests talk to, driven by Playwright."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
SIZE = {"width": 1100, "height": 900}


def find() -> str | None:
    """The browser's program, or None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page; use it in a ``with`` statement.

    Attributes:
        page: Playwright's page.
        errors: Exceptions and console errors of the page so far.
        requests: Addresses that the page asked for, its own file left out.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._playwright = sync_playwright().start()
        try:
            self._program = self._playwright.chromium.launch(
                executable_path=find(), args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
            # The page's own policy forbids to evaluate text, which is how tests ask it.
            self.page = self._program.new_page(viewport=SIZE, bypass_csp=True)
        except BaseException:
            self._playwright.stop()
            raise
        self.page.set_default_timeout(15_000.0)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._note)
        self.page.on("request", self._count)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.close()
        self._playwright.stop()

    def open(self, address: str) -> None:
        """Load a page and wait until it has run its scripts."""
        self.page.goto(address)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page, promises awaited."""
        return self.page.evaluate(script)

    def point(self, selector: str, share: float = 0.5) -> None:
        """Move the mouse over an element, at a share of its width."""
        element = self._element(selector)
        element.scroll_into_view_if_needed()
        box = element.bounding_box()
        assert box is not None, f"{selector} is not shown"
        self.page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.5 * box["height"])

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element that nothing covers."""
        self._element(selector).click()

    def press(self, key: str) -> None:
        """Press and release a key."""
        self.page.keyboard.press(key)

    def picture(self, path: Path) -> Path:
        """Save what the window shows as PNG."""
        self.page.screenshot(path=path)
        return path

    def _element(self, selector: str) -> Locator:
        return self.page.locator(selector).first

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "assert"):
            self.errors.append(message.text)

    def _count(self, request: Request) -> None:
        if not request.is_navigation_request():
            self.requests.append(request.url)
