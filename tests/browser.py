"""A real browser for tests: Debian's Chromium, driven by Playwright, that reads our pages as people
do. The fixtures `browser`, `page` and `pictures` are in tests/conftest.py.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from csms.config import Settings
from tests.people_at_the_door import PASSWORD

CHROMIUM: Final = Path("/usr/bin/chromium")
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 800}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
PATIENCE_MS: Final = 30_000
_GRAVE: Final = ("serious", "critical")
_MISSING: Final = (
    f"{CHROMIUM} is missing: install Debian's package chromium "
    "(make test does it where it runs as root)"
)


def why_none() -> str | None:
    """Why there is no browser on this machine; None: there is one."""
    return None if CHROMIUM.exists() else _MISSING


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Chromium without a window; it ends with the block."""
    # Its sandbox needs a user other than root; the pages that it reads here are our own.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_page(
    browser: Browser,
    settings: Settings,
    *,
    language: str = "fr-FR",
    dark: bool = False,
    faults: list[str] | None = None,
) -> AsyncIterator[Page]:
    """A page of somebody in Paris who has no cookies yet; paths are those of the service of these
    settings. `faults` gets what the page complains of: its console, its errors, what it could not
    load."""
    context = await browser.new_context(
        base_url=f"http://127.0.0.1:{settings.http_port}",
        locale=language,
        timezone_id="Europe/Paris",
        color_scheme="dark" if dark else "light",
        viewport=DESKTOP,
    )
    context.set_default_timeout(PATIENCE_MS)
    try:
        page = await context.new_page()
        if faults is not None:
            watch(page, faults)
        yield page
    finally:
        await context.close()


def watch(page: Page, faults: list[str]) -> None:
    """Note from now on what the page complains of."""
    page.on(
        "console",
        lambda said: (
            faults.append(f"{page.url}: {said.text}") if said.type in ("error", "warning") else None
        ),
    )
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on(
        "response",
        lambda answer: (
            faults.append(f"{answer.url}: {answer.status}") if answer.status >= 400 else None
        ),
    )


async def log_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Fill in the form of /login as a person does, and wait for what follows."""
    await page.goto("/login?lang=fr")
    await page.get_by_label("Adresse e-mail").fill(email)
    await page.get_by_label("Mot de passe").fill(password)
    await page.get_by_role("button", name="Se connecter").click()
    await page.wait_for_url(lambda url: "/login" not in url)


async def axe(page: Page) -> list[str]:
    """The serious and critical faults that axe-core finds in the page, each with where it is."""
    # Sent through the debugger's door, which the pages' content security policy does not close.
    found = (await Axe().run(page)).response["violations"]
    return [
        f"{fault['id']} ({fault['impact']}): {fault['help']}; {node['html']} {node['target']}"
        for fault in found
        if fault["impact"] in _GRAVE
        for node in fault["nodes"]
    ]


async def take_pictures(page: Page, folder: Path, name: str) -> list[Path]:
    """The whole page as PNG, on a desktop's and on a phone's screen; the desktop's is left."""
    made = []
    for screen, size in (("phone", PHONE), ("desktop", DESKTOP)):
        await page.set_viewport_size(size)
        path = folder / f"{name}-{screen}.png"
        await page.screenshot(path=path, full_page=True, animations="disabled")
        made.append(path)
    return made


async def is_too_wide(page: Page) -> bool:
    """Whether the page has to be scrolled sideways on a phone; the desktop's screen is left."""
    await page.set_viewport_size(PHONE)
    wide = await page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    await page.set_viewport_size(DESKTOP)
    return bool(wide)
