"""A real Chromium without a window, in which tests see and use pages as people do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

# The first is the browser without its windows, which takes a quarter of the time for a page.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# What a browser does of its own accord, and what tests want nothing of: look-ups, updates, accounts.
QUIET = ("background-networking", "component-update", "sync", "quic", "gpu")
ARGUMENTS = ("--no-first-run", *(f"--disable-{name}" for name in QUIET))


def find_chromium() -> str | None:
    """Where Chromium is; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """A browser, whose contexts know nothing of each other.

    While it is open its thread has an event loop that counts as running: no other can run there.
    """
    # https://playwright.dev/python/docs/api/class-browsertype#browser-type-launch: its sandbox does not work as root.
    sandbox = not (hasattr(os, "geteuid") and os.geteuid() == 0)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, chromium_sandbox=sandbox)
        try:
            yield browser
        finally:
            browser.close()
