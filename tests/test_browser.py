"""The pages in a real browser: they can be used, read by everybody, and looked at."""

from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, Page
from psycopg_pool import AsyncConnectionPool

from csms import db
from csms.config import Settings
from csms.db import Database
from tests.browser import axe, is_too_wide, log_in, open_page, take_pictures
from tests.people import add_site, add_station
from tests.people_at_the_door import PASSWORD, code_of, person

MANAGER: Final = "gestionnaire@example.org"
OPERATOR: Final = "operatrice@example.org"


async def check(page: Page, pictures: Path, name: str) -> None:
    """What holds of every page: axe finds no grave fault, and a phone shows all of its width."""
    await take_pictures(page, pictures, name)
    assert await axe(page) == []
    assert not await is_too_wide(page), name


@pytest.fixture
async def manager(database: Database, pool: AsyncConnectionPool) -> str:
    """The address of somebody who manages the client of the site `exemple`."""
    await add_site(database)
    async with await db.connect(database) as connection:
        cursor = await connection.execute("SELECT id FROM client WHERE NOT is_operator")
        (client_id,) = await cursor.fetchone() or (0,)
    await person(pool, MANAGER, manages=(client_id,))
    return MANAGER


async def test_a_manager_logs_in_and_keeps_her_account(
    page: Page, manager: str, pictures: Path
) -> None:
    await page.goto("/")
    assert await page.title() == "Se connecter – Time2Plug Supervision"
    await check(page, pictures, "login")
    await log_in(page, manager)
    assert await page.title() == "Tableau de bord – Time2Plug Supervision"
    await page.get_by_role("link", name="Mon compte").click()
    await page.get_by_label("Prénom").fill("Élodie")
    await page.get_by_role("button", name="Enregistrer").first.click()
    assert await page.get_by_text("Votre profil est enregistré").is_visible()
    assert await page.get_by_label("Prénom").input_value() == "Élodie"
    await check(page, pictures, "account")
    await page.get_by_role("link", name="Se déconnecter").click()
    await check(page, pictures, "logout")
    await page.get_by_role("button", name="Se déconnecter").click()
    assert await page.get_by_role("status").inner_text() == "Vous êtes déconnecté."


async def test_an_operator_sees_the_fleet_after_her_second_factor(
    page: Page, pool: AsyncConnectionPool, pictures: Path
) -> None:
    await person(pool, OPERATOR, roles=("read",))
    await log_in(page, OPERATOR)
    form = page.locator("form[action^='/account/second-factor']")
    await form.get_by_label("Mot de passe actuel").fill(PASSWORD)
    await form.get_by_role("button").click()
    secret = await page.locator("main code").inner_text()
    await check(page, pictures, "second-factor")
    await page.get_by_label("Code").fill(code_of(secret, steps=0))
    await page.get_by_role("button", name="Continuer").click()
    assert await page.locator(".codes code").count() == 10
    await check(page, pictures, "recovery")
    await page.goto("/")
    assert await page.get_by_text("Bornes connectées").is_visible()
    await check(page, pictures, "fleet")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_public_pages_are_read_by_everybody(
    page: Page,
    browser: Browser,
    database: Database,
    settings: Settings,
    pictures: Path,
    faults: list[str],
    dark: bool,
) -> None:
    await add_site(database)
    (code,) = await add_station(database, "CP1")
    shade = "dark" if dark else "light"
    for language in ("fr", "en"):
        async with open_page(
            browser, settings, language=language, dark=dark, faults=faults
        ) as page:
            for path, name in (
                ("/confidentialite", "privacy"),
                (f"/p/{code}", "point"),
                ("/reset", "reset"),
                ("/login", "login"),
            ):
                await page.goto(path)
                await check(page, pictures, f"{name}-{language}-{shade}")


async def test_a_code_that_no_point_has_is_told(
    page: Page, pictures: Path, faults: list[str]
) -> None:
    answer = await page.goto("/p/ZZZZZZ")
    assert answer is not None and answer.status == 404
    await check(page, pictures, "point-unknown")
    assert [fault for fault in faults if "404" not in fault] == []
    faults.clear()


async def test_the_documentation_of_the_api_is_read_on_a_phone_too(page: Page) -> None:
    await page.goto("/docs")
    assert await axe(page) == []
    assert not await is_too_wide(page)
