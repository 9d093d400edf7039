"""Managers' pages in a real browser: read by everybody, used with a script and without."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page
from psycopg_pool import AsyncConnectionPool

from billing import disputes, issuing
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, connect, transaction
from csms.deadlines import add_months, paris_day, start_of_day
from tests import billing_world
from tests.billing_world import MONTH, NOW
from tests.browser import PHONE, axe, is_too_wide, log_in, open_page, take_pictures
from tests.people_at_the_door import person
from tests.scenarios import statements
from tests.scenarios.statements import World
from tests.test_closing import close, pay
from tests.test_manager_pages import MANAGER, YESTERDAY, lie_open

PAGES = (
    *("", "/releves", "/factures", "/utilisateurs"),
    *("/rapports?month=2026-10", "/rapports?month=2026-10&kind=consumption"),
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return billing_world.with_operator(settings)


@pytest.fixture
async def world(database: Database, pool: AsyncConnectionPool) -> World:
    """A client whose statement of 60 sessions arrived yesterday, and who manages it."""
    async with await connect(database, owner=True) as owner:
        made = await statements.fill(owner, "alpha", 60)
        await statements.deliver(owner, made, YESTERDAY)
    await person(pool, MANAGER, manages=(made.client_id,))
    return made


async def check(page: Page, pictures: Path, name: str) -> None:
    """What holds of every page: axe finds no grave fault, and a phone shows all of its width."""
    await take_pictures(page, pictures, name)
    assert await axe(page) == [], name
    assert not await is_too_wide(page), name


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_every_page_can_be_read_by_everybody(
    browser: Browser,
    page: Page,
    settings: Settings,
    world: World,
    pictures: Path,
    dark: bool,
) -> None:
    faults: list[str] = []
    async with open_page(browser, settings, dark=dark, faults=faults) as reader:
        await log_in(reader, MANAGER)
        assert await reader.title() == "Tableau de bord – Time2Plug Supervision"
        for path in (*PAGES, f"/releves/{world.statement_id}", "/releves/999999"):
            await reader.goto(f"/gestion{path}")
            name = (
                path.strip("/").replace("/", "-").replace("?", "-").replace("&", "-") or "tableau"
            )
            await check(reader, pictures, f"gestion-{name}{'-dark' if dark else ''}")
        await reader.goto(f"/gestion/releves/{world.statement_id}")
        await reader.get_by_label("Contester la ligne 2", exact=True).click()
        assert await axe(reader) == []
    assert [one for one in faults if "999999" not in one] == []


async def test_a_line_is_contested_in_its_place(page: Page, world: World, pictures: Path) -> None:
    await log_in(page, MANAGER)
    await page.get_by_role("link", name="Ouvrir le relevé").click()
    await page.get_by_label("Contester la ligne 2", exact=True).click()
    row = page.locator("#line-2")
    await row.get_by_label("Pourquoi contestez-vous cette ligne").fill("Comptée deux fois.")
    await row.get_by_role("button", name="Envoyer la contestation").click()
    await row.get_by_text("Comptée deux fois.").wait_for()
    assert page.url.endswith(f"/gestion/releves/{world.statement_id}"), "the page stayed"
    said = page.get_by_role("status")
    assert await said.inner_text() == "Votre contestation de la ligne 2 est enregistrée."
    await check(page, pictures, "gestion-contested")
    await row.get_by_role("button", name="Retirer la contestation").click()
    await row.get_by_text("contestation retirée").wait_for()


async def test_an_invoice_is_contested_in_its_place(
    page: Page, world: World, pictures: Path, database: Database
) -> None:
    await lie_open(database, world, 3)
    await log_in(page, MANAGER)
    await page.get_by_role("link", name="Factures").click()
    await check(page, pictures, "gestion-factures-open")
    await page.get_by_role("link", name="alpha-F-2026-000005", exact=True).click()
    part = page.locator("#contest")
    await part.get_by_text("Contester cette facture", exact=True).click()
    await check(page, pictures, "gestion-facture")
    await part.get_by_label("Pourquoi contestez-vous cette facture").fill("Le prix est faux.")
    await part.get_by_role("button", name="Envoyer la contestation").click()
    await part.get_by_text("Le prix est faux.").wait_for()
    assert page.url.endswith(f"/gestion/factures/{world.invoice_ids[4]}"), "the page stayed"
    said = page.get_by_role("status")
    assert await said.inner_text() == "Votre contestation de la facture est enregistrée."
    await check(page, pictures, "gestion-facture-contested")
    await part.get_by_role("button", name="Retirer la contestation").click()
    await part.get_by_text("contestation retirée").wait_for()
    assert await part.get_by_text("Contester cette facture", exact=True).is_visible()


async def test_what_was_contested_is_put_right_in_the_next_statement(
    page: Page, database: Database, pool: AsyncConnectionPool, settings: Settings, pictures: Path
) -> None:
    """From the recorded session through two closings, by the books: nothing is a row of ours but
    that the statements were sent."""
    client_id = await billing_world.add_client(
        database, "Copropriété de démonstration 1", fee_cents=1_500
    )
    driver_id = await billing_world.add_driver(database, "anne")
    first, _ = await billing_world.add_sessions(database, client_id, driver_id, [4_000, 2_000])
    async with pool.connection() as connection:
        await issuing.issue(connection, client_id, MONTH, NOW, settings=settings)
    await pay(pool, first, 4_000, date(2026, 10, 20), "bank:1")
    assert (await close(pool, settings)).statements == 1
    await send(database, YESTERDAY)
    await person(pool, MANAGER, manages=(client_id,))

    await log_in(page, MANAGER)
    await page.get_by_role("link", name="Relevés").click()
    await page.get_by_role("link", name="Octobre 2026").click()
    before = await page.locator(".net .amount").inner_text()
    assert before.replace("\u202f", " ").replace("\xa0", " ") == "19,60 €"
    await page.get_by_label("Contester la ligne 1", exact=True).click()
    row = page.locator("#line-1")
    await row.get_by_label("Pourquoi contestez-vous cette ligne").fill("Comptée deux fois.")
    await row.get_by_role("button", name="Envoyer la contestation").click()
    await row.get_by_text("Comptée deux fois.").wait_for()

    async with transaction(pool) as connection:
        cursor = await connection.execute("SELECT id, held_cents FROM dispute")
        ((dispute_id, held_cents),) = await cursor.fetchall()
        assert held_cents > 0
        now = datetime.now(UTC)
        await disputes.decide(
            connection,
            dispute_id,
            "upheld",
            "Session comptée deux fois",
            correction="credit",
            actor=Actor("command line"),
            now=now,
            settings=settings,
        )
    await page.reload()
    assert await row.get_by_text("contestation acceptée").is_visible()
    assert await page.locator(".net .amount").inner_text() == before, "a statement is never edited"

    month = paris_day(now).replace(day=1)
    after = start_of_day(add_months(month, 1)) + timedelta(hours=9)
    assert (await close(pool, settings, month, after)).statements == 1
    await send(database, now)
    await page.get_by_role("link", name="Relevés").click()
    await page.get_by_role("table").get_by_role("link").first.click()
    assert await page.get_by_text("Solde reporté sur le prochain relevé").first.is_visible()
    table = page.get_by_role("region", name="Ajustements", exact=True)
    text = (await table.inner_text()).replace("\u202f", " ").replace("\xa0", " ")
    for part in ("Octobre 2026", "Session comptée deux fois", "-A-", "−40,00 €"):
        assert part in text, text
    await check(page, pictures, "gestion-put-right")


async def send(database: Database, at: datetime) -> None:
    """Statements that were not sent are, and have arrived."""
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            """
            INSERT INTO statement_event (statement_id, client_id, kind, at)
            SELECT id, client_id, kind, %s
              FROM statement CROSS JOIN unnest(ARRAY['sent', 'delivered']) kind
             WHERE NOT EXISTS (SELECT FROM statement_event e WHERE e.statement_id = statement.id)
            """,
            (at,),
        )


async def test_a_phone_without_scripts_contests_a_line_too(
    browser: Browser, page: Page, settings: Settings, world: World
) -> None:
    context = await browser.new_context(
        base_url=f"http://127.0.0.1:{settings.http_port}",
        java_script_enabled=False,
        viewport=PHONE,
        locale="fr-FR",
    )
    phone = await context.new_page()
    await log_in(phone, MANAGER)
    await phone.goto(f"/gestion/releves/{world.statement_id}?page=2")
    await phone.locator("#line-55 summary").click()
    await phone.locator("#line-55 textarea").fill("Je n’étais pas là.")
    await phone.locator("#line-55 button").click()
    assert await phone.get_by_role("status").inner_text() == (
        "Votre contestation de la ligne 55 est enregistrée."
    )
    assert await phone.locator("#line-55").get_by_text("Je n’étais pas là.").is_visible()
    await context.close()


@pytest.mark.parametrize("kind", ["PDF", "CSV", "XLSX", "JSON"])
async def test_each_format_is_downloaded(page: Page, world: World, kind: str) -> None:
    await log_in(page, MANAGER)
    await page.goto(f"/gestion/releves/{world.statement_id}")
    async with page.expect_download() as waited:
        await page.get_by_role("link", name=kind, exact=True).click()
    made = await waited.value
    assert made.suggested_filename == f"releve-2026-10-{world.client_id}.{kind.lower()}"
    content = Path(await made.path()).read_bytes()  # noqa: ASYNC240 - a small file of ours
    start = {"PDF": b"%PDF-", "CSV": b"\xef\xbb\xbfRubrique", "XLSX": b"PK", "JSON": b'{"lines"'}
    assert content.startswith(start[kind])


async def test_the_month_and_the_language_are_chosen(page: Page, world: World) -> None:
    await log_in(page, MANAGER)
    await page.get_by_label("Mois").select_option("2026-09")
    await page.get_by_role("button", name="Afficher").click()
    assert await page.get_by_role("heading", name="Septembre 2026").is_visible()
    await page.get_by_role("link", name="English").click()
    assert await page.get_by_role("heading", name="Dashboard").is_visible()


async def test_a_statement_prints_without_what_cannot_be_clicked(
    page: Page, world: World, pictures: Path
) -> None:
    await log_in(page, MANAGER)
    await page.goto(f"/gestion/releves/{world.statement_id}")
    await page.emulate_media(media="print")
    assert not await page.get_by_role("link", name="PDF", exact=True).is_visible()
    assert not await page.locator("#line-2 summary").is_visible()
    assert await page.locator(".net .amount").is_visible()
    (pictures / "gestion-print.pdf").write_bytes(await page.pdf(format="A4"))
