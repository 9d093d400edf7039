"""Managers' pages over HTTP: what they show, to whom, and that no script is needed."""

import io
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import openpyxl
import pypdfium2
import pytest
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from csms.config import Settings
from csms.db import Database, connect
from csms.deadlines import PARIS, paris_day
from csms.web.app import create_app
from tests.people_at_the_door import csrf, log_in_page, person
from tests.scenarios import statements
from tests.scenarios.statements import World

MANAGER = "gestionnaire@example.org"
NOBODY = "conductrice@example.org"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
PAGES = (
    *("/gestion", "/gestion/releves", "/gestion/factures", "/gestion/utilisateurs"),
    "/gestion/rapports",
)


@pytest.fixture
async def worlds(database: Database) -> tuple[World, World]:
    """Client A with 60 sessions, whose statement arrived yesterday, and B with four."""
    async with await connect(database, owner=True) as owner:
        a = await statements.fill(owner, "alpha", 60)
        b = await statements.fill(owner, "beta", 4)
        for world in (a, b):
            await statements.deliver(owner, world, YESTERDAY)
    return a, b


@pytest.fixture
def app(pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings) -> FastAPI:
    return create_app(pool, settings, people=people)


@pytest.fixture
async def page(
    app: FastAPI, pool: AsyncConnectionPool, worlds: tuple[World, World]
) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of who manages A, logged in."""
    await person(pool, MANAGER, manages=(worlds[0].client_id,))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await log_in_page(client, MANAGER)
        yield client


def plain(answer: httpx.Response) -> str:
    """The page with its no-break spaces as spaces."""
    return answer.text.replace("\u202f", " ").replace("\xa0", " ")


async def test_a_manager_lands_on_the_month_at_a_glance(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    assert (await page.get("/")).headers["location"] == "/gestion"
    answer = await page.get("/gestion")
    shown = plain(answer)
    assert answer.status_code == 200
    assert "Octobre 2026" in shown
    for figure in ("153,96 €", "192,00 €", "48,00 €", "600 kWh"):
        assert figure in shown, figure
    assert f"/gestion/releves/{worlds[0].statement_id}" in shown
    assert "Relevé d’octobre 2026 : à contester jusqu’au" in shown
    assert shown.count('<rect class="bar"') == 31 + 2
    assert shown.count("<table>") == 2, "each chart has its table"
    before = plain(await page.get("/gestion?month=2026-09"))
    assert "Aucune session terminée" in before
    assert "Connu à la clôture" in before
    running = datetime.now(PARIS)
    now = plain(await page.get(f"/gestion?month={running:%Y-%m}"))
    assert "<small>(en cours)</small>" in now
    assert "par rapport à" not in now, "a part of a month is not held against a whole one"


async def test_a_month_stands_beside_the_one_before(
    page: httpx.AsyncClient, worlds: tuple[World, World], database: Database
) -> None:
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            """
            INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                                 evse_id, authorization_status, state, started_at, ended_at,
                                 energy_wh)
            SELECT 1, client_id, site_id, station_key, '1', '1', 1, 'Accepted', 'ended',
                   '2026-09-05', '2026-09-30 21:59Z', 400000
              FROM station WHERE client_id = %s
            """,
            (worlds[0].client_id,),
        )
    shown = plain(await page.get("/gestion?month=2026-10"))
    assert "+50 % par rapport à septembre 2026" in shown
    september = plain(await page.get("/gestion?month=2026-09"))
    assert "400 kWh" in september
    assert "1 session de ce mois n’a pas encore de prix" in september
    assert "Badge sans utilisateur connu" in plain(
        await page.get("/gestion/utilisateurs?month=2026-09")
    )


async def test_pages_are_in_english_where_it_is_asked_for(page: httpx.AsyncClient) -> None:
    shown = plain(await page.get("/gestion?lang=en"))
    assert "Net to be paid to you" in shown
    assert "€153.96" in shown
    assert "Statement of October 2026: can be contested until" in shown
    assert 'href="/gestion/releves?lang=en"' in shown


async def test_a_statement_shows_where_its_number_comes_from(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    answer = await page.get(f"/gestion/releves/{worlds[0].statement_id}")
    shown = plain(answer)
    assert answer.status_code == 200
    assert "Relevé d’octobre 2026" in shown
    for text in (
        "153,96 €",
        "10 % de 192,00 €, soit 19,20 € HT et 3,84 € de TVA",
        "−23,04 €",
        "Contestation acceptée : session comptée deux fois (alpha-A-2026-000001)",
        "Lignes 1 à 50 sur 60",
        "Conductrice 3 alpha",
        "alpha-F-2026-000001",
        "énergie répartie par estimation",
    ):
        assert text in shown, text
    rest = plain(await page.get(f"/gestion/releves/{worlds[0].statement_id}?page=2"))
    assert "Lignes 51 à 60 sur 60" in rest
    assert rest.count('<tr id="line-') == 10
    listed = plain(await page.get("/gestion/releves"))
    assert "Octobre 2026" in listed
    assert "Envoyé" in listed


async def test_users_and_invoices_are_listed(page: httpx.AsyncClient) -> None:
    users = plain(await page.get("/gestion/utilisateurs"))
    assert users.count("200,000 kWh") == 3
    assert "240,00 €" in users, "of all of them"
    invoices = plain(await page.get("/gestion/factures?month=2026-10"))
    assert invoices.count("alpha-F-2026-") == 2 * 60, "number and name of the link"
    assert "Aucune facture" in plain(await page.get("/gestion/factures?month=2026-09"))


async def test_the_files_of_a_statement_agree_with_its_page(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    at = f"/gestion/releves/{worlds[0].statement_id}/fichier"
    answers = {kind: await page.get(f"{at}.{kind}") for kind in ("pdf", "csv", "xlsx", "json")}
    for kind, answer in answers.items():
        assert answer.status_code == 200, kind
        name = f"releve-2026-10-{worlds[0].client_id}.{kind}"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert "153,96" in answers["csv"].content.decode("utf-8-sig")
    assert answers["csv"].text.count("\nSession;") == 60
    book = openpyxl.load_workbook(io.BytesIO(answers["xlsx"].content))
    assert book["Sessions"].max_row == 61
    assert json.loads(answers["json"].content)["statement"]["net_cents"] == 15396
    document = pypdfium2.PdfDocument(answers["pdf"].content)
    assert len(document) == 5
    document.close()
    assert (await page.get(f"{at}.exe")).status_code == 404
    english = await page.get(f"{at}.csv?lang=en")
    assert "statement-2026-10" in english.headers["content-disposition"]


async def test_the_invoice_of_each_use_is_a_click_away(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    at = f"/api/v1/invoices/{worlds[0].invoice_ids[4]}/files/pdf"
    for path in (f"/gestion/releves/{worlds[0].statement_id}", "/gestion/factures"):
        assert f'href="{at}"' in (await page.get(path)).text, path
    answer = await page.get(at)
    assert answer.headers["content-type"] == "application/pdf"
    document = pypdfium2.PdfDocument(answer.content)
    text = document[0].get_textpage().get_text_range()
    document.close()
    assert "alpha-F-2026-000005" in text
    other = f"/api/v1/invoices/{worlds[1].invoice_ids[0]}/files/pdf"
    assert (await page.get(other)).status_code == 404


async def test_a_file_that_was_kept_is_the_one_that_is_downloaded(
    page: httpx.AsyncClient, worlds: tuple[World, World], pool: AsyncConnectionPool
) -> None:
    async with pool.connection() as connection:
        await connection.execute(
            """
            INSERT INTO statement_file (statement_id, client_id, format, language, content, sha256,
                                        created_at)
            VALUES (%s, %s, 'pdf', 'fr', 'kept', sha256('kept'), now())
            """,
            (worlds[0].statement_id, worlds[0].client_id),
        )
    kept = await page.get(f"/gestion/releves/{worlds[0].statement_id}/fichier.pdf")
    assert kept.content == b"kept"


async def test_another_clients_things_are_not_there(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    a, b = worlds
    at = f"/gestion/releves/{b.statement_id}"
    token = csrf(await page.get(f"/gestion/releves/{a.statement_id}"))
    answers = [await page.get(path) for path in (at, f"{at}/fichier.pdf", f"{at}?page=2")]
    for line_id in (b.line_ids[0], a.line_ids[0]):
        for verb in ("contester", "retirer"):
            answers.append(
                await page.post(
                    f"{at}/lignes/{line_id}/{verb}", data={"csrf": token, "reason": "x"}
                )
            )
    own = f"/gestion/releves/{a.statement_id}/lignes/{b.line_ids[0]}/contester"
    answers.append(await page.post(own, data={"csrf": token, "reason": "x"}))
    for answer in answers:
        assert answer.status_code == 404, answer.request.url
        assert "Introuvable" in answer.text
    for path in PAGES:
        shown = await page.get(f"{path}?client={b.client_id}&month=2026-10")
        assert shown.status_code == 200
        assert "beta" not in shown.text, path
        assert "alpha" in shown.text, path


async def test_whoever_manages_nothing_sees_nothing(
    app: FastAPI, page: httpx.AsyncClient, worlds: tuple[World, World], pool: AsyncConnectionPool
) -> None:
    await person(pool, NOBODY)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as other:
        for path in PAGES:
            answer = await other.get(path)
            assert answer.headers["location"] == f"/login?next={path}"
        await log_in_page(other, NOBODY)
        for path in PAGES:
            answer = await other.get(path)
            assert "Vous ne gérez aucune" in answer.text
            assert "alpha" not in answer.text
        answer = await other.get(f"/gestion/releves/{worlds[0].statement_id}")
        assert answer.status_code == 404


async def test_one_of_several_clients_is_chosen(
    app: FastAPI, worlds: tuple[World, World], pool: AsyncConnectionPool
) -> None:
    await person(pool, MANAGER, manages=tuple(world.client_id for world in worlds))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as both:
        await log_in_page(both, MANAGER)
        first = await both.get("/gestion")
        assert "<option" in first.text and "démonstration beta" in first.text
        second = plain(await both.get(f"/gestion?client={worlds[1].client_id}"))
        assert "40 kWh" in second
        assert f"/gestion/releves?client={worlds[1].client_id}" in second


async def test_a_statement_that_was_not_sent_is_not_shown(
    page: httpx.AsyncClient, database: Database
) -> None:
    async with await connect(database, owner=True) as owner:
        cursor = await owner.execute(
            """
            INSERT INTO statement (client_id, month, opening_cents, collected_cents,
                                   uncollected_cents, commission_cents, fees_cents, offset_cents,
                                   adjustment_cents, disputed_cents, net_cents, content, sha256,
                                   closed_at)
            SELECT client_id, '2026-11-01', 0, 0, 0, 0, 0, 0, 0, 0, 77700, content, '', now()
              FROM statement ORDER BY id LIMIT 1 RETURNING id
            """
        )
        row = await cursor.fetchone()
    assert row is not None
    assert (await page.get(f"/gestion/releves/{row[0]}")).status_code == 404
    assert "777,00" not in plain(await page.get("/gestion/releves"))
    assert "777,00" not in plain(await page.get("/gestion?month=2026-11"))


async def test_a_statement_says_what_became_of_its_net(
    page: httpx.AsyncClient, worlds: tuple[World, World], database: Database
) -> None:
    """By when it is paid, then that it was: on which account, by which reference."""
    path = f"/gestion/releves/{worlds[0].statement_id}"
    assert "Versement au plus tard le 13/11/2026." in plain(await page.get(path))
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            """
            INSERT INTO payment_file (kind, account, message_id, execution_on, payments,
                                      total_cents, content, sha256, is_simulated, created_at,
                                      created_by)
            VALUES ('payout', 'mandate', 'T2P-V-1', '2026-11-13', 1, 3760, '<x/>', sha256('<x/>'),
                    true, now(), 'test')
            """
        )
        await owner.execute(
            """
            INSERT INTO payout (client_id, month, amount_cents, due_on, iban, holder, end_to_end_id,
                                status, file_id, created_at, created_by)
            VALUES (%s, '2026-10-01', 3760, '2026-11-13', 'FR1420041010050500013M02606', 'Exemple',
                    'T2P-2026-10-2', 'sent', 1, now(), 'test')
            """,
            (worlds[0].client_id,),
        )
        await owner.execute(
            """
            INSERT INTO payout_line (payout_id, client_id, position, kind, statement_id,
                                     amount_cents)
            VALUES (1, %s, 1, 'statement', %s, 3760)
            """,
            (worlds[0].client_id, worlds[0].statement_id),
        )
        told = plain(await page.get(path))
        assert "37,60 € : virement en cours, au plus tard le 13/11/2026" in told
        assert "FR1420041010050500013M02606" not in told, "the account is masked"
        await owner.execute("UPDATE payout SET status = 'settled', settled_on = '2026-11-12'")
        told = plain(await page.get(path))
        assert "37,60 € versés le 12/11/2026 sur le compte FR14" in told
        assert "(référence T2P-2026-10-2)" in told
        assert "paid on 12/11/2026" in plain(await page.get(f"{path}?lang=en"))


async def test_opening_a_statement_proves_that_it_has_arrived(
    page: httpx.AsyncClient, worlds: tuple[World, World], pool: AsyncConnectionPool
) -> None:
    for _ in range(2):
        await page.get(f"/gestion/releves/{worlds[0].statement_id}")
    await page.get(f"/gestion/releves/{worlds[1].statement_id}")
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT statement_id, proof ->> 'channel' FROM statement_event WHERE kind = 'opened'"
        )
        assert await cursor.fetchall() == [(worlds[0].statement_id, "page")]


def contesting(world: World, number: int, verb: str = "contester") -> str:
    return f"/gestion/releves/{world.statement_id}/lignes/{world.line_ids[number]}/{verb}"


async def test_a_line_is_contested_and_withdrawn_without_a_script(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    at = f"/gestion/releves/{worlds[0].statement_id}?page=2"
    form = await page.get(at)
    assert f'action="{contesting(worlds[0], 54)}"' in form.text
    sent = {"csrf": csrf(form), "reason": "Cette <b>voiture</b> n’est pas à nous."}
    done = await page.post(contesting(worlds[0], 54), data=sent)
    assert done.status_code == 303
    assert done.headers["location"].endswith("?page=2&done=contested&line=55#line-55")
    shown = plain(await page.get(done.headers["location"]))
    assert "Votre contestation de la ligne 55 est enregistrée" in shown
    assert "Cette &lt;b&gt;voiture" in shown
    assert '<tr id="line-55" class="contested">' in shown
    assert "Contesté" in plain(await page.get("/gestion/releves"))
    assert "1 ligne contestée, décision attendue" in plain(await page.get("/gestion"))
    csv = await page.get(f"/gestion/releves/{worlds[0].statement_id}/fichier.csv")
    assert csv.text.count(";Contestée;") == 1
    withdrawn = await page.post(contesting(worlds[0], 54, "retirer"), data={"csrf": csrf(form)})
    shown = plain(await page.get(withdrawn.headers["location"]))
    assert "contestation retirée" in shown
    assert "ligne contestée" not in plain(await page.get("/gestion"))


async def test_with_htmx_the_line_alone_comes_back(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    form = await page.get(f"/gestion/releves/{worlds[0].statement_id}")
    headers = {"HX-Request": "true"}
    sent = {"csrf": csrf(form), "reason": "Double"}
    done = await page.post(contesting(worlds[0], 1), data=sent, headers=headers)
    assert done.status_code == 200
    assert re.match(r'\s*<tr id="line-2" class="contested">', done.text)
    assert done.text.count("<tr") == 1
    assert "<html" not in done.text
    assert 'hx-swap-oob="innerHTML"' in done.text
    refused = await page.post(
        contesting(worlds[0], 2), data={**sent, "reason": "  "}, headers=headers
    )
    assert refused.status_code == 422
    assert "Indiquez un motif" in refused.text
    assert "<details open>" in refused.text


async def test_a_reason_is_needed_and_what_was_written_stays(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    token = csrf(await page.get(f"/gestion/releves/{worlds[0].statement_id}"))
    for reason, told in (("", "motif"), ("x" * 2001, "motif")):
        answer = await page.post(contesting(worlds[0], 57), data={"csrf": token, "reason": reason})
        assert answer.status_code == 422
        assert told in answer.text, reason[:10]
        assert "Lignes 51 à 60" in answer.text, "the page with the line"
        assert not reason or f">{reason}</textarea>" in answer.text
    without = await page.post(contesting(worlds[0], 57), data={"reason": "x"})
    assert without.status_code == 403
    for status in (303, 422):
        sent = {"csrf": token, "reason": "Double"}
        answer = await page.post(contesting(worlds[0], 57), data=sent)
        assert answer.status_code == status
    assert "ou l’est déjà" in answer.text
    for status in (303, 422):
        answer = await page.post(contesting(worlds[0], 57, "retirer"), data={"csrf": token})
        assert answer.status_code == status


@pytest.mark.parametrize(("days_ago", "is_open"), [(9, True), (15, False)])
async def test_nothing_is_contested_after_the_window(
    app: FastAPI, database: Database, pool: AsyncConnectionPool, days_ago: int, is_open: bool
) -> None:
    async with await connect(database, owner=True) as owner:
        world = await statements.fill(owner, "alpha", 2)
        await statements.deliver(owner, world, datetime.now(UTC) - timedelta(days=days_ago))
    await person(pool, MANAGER, manages=(world.client_id,))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as page:
        await log_in_page(page, MANAGER)
        shown = await page.get(f"/gestion/releves/{world.statement_id}")
        assert ("Contester" in shown.text) is is_open
        assert ("Définitif" in shown.text) is not is_open
        token = csrf(await page.get("/account"))
        answer = await page.post(
            contesting(world, 0), data={"csrf": token, "reason": "Trop tard ?"}
        )
        assert answer.status_code == (303 if is_open else 422)
        assert is_open or "délai pour contester est passé" in answer.text


async def lie_open(database: Database, world: World, days_ago: int) -> None:
    """The invoices were made available so long ago."""
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            """
            INSERT INTO invoice_availability (invoice_id, client_id, available_at)
            SELECT id, client_id, %s FROM invoice WHERE client_id = %s
            """,
            (datetime.now(UTC) - timedelta(days=days_ago), world.client_id),
        )


def invoice_at(world: World, number: int, verb: str = "") -> str:
    return f"/gestion/factures/{world.invoice_ids[number]}{verb and '/' + verb}"


async def test_an_invoice_is_contested_and_withdrawn_without_a_script(
    page: httpx.AsyncClient, worlds: tuple[World, World], database: Database
) -> None:
    await lie_open(database, worlds[0], 3)
    last = paris_day(datetime.now(UTC)) + timedelta(days=12)
    form = await page.get(invoice_at(worlds[0], 4))
    shown = plain(form)
    assert form.status_code == 200
    for text in (
        "Facture alpha-F-2026-000005",
        "4,00 €",
        "10,000 kWh",
        f"jusqu’au {last:%d/%m/%Y} inclus",
        f'action="{invoice_at(worlds[0], 4, "contester")}"',
    ):
        assert text in shown, text
    listed = plain(await page.get("/gestion/factures"))
    assert f"Contestable</span> <small>jusqu’au {last:%d/%m/%Y}</small>" in listed
    assert f'href="{invoice_at(worlds[0], 4)}"' in listed
    sent = {"csrf": csrf(form), "reason": "Le <b>prix</b> est faux."}
    done = await page.post(invoice_at(worlds[0], 4, "contester"), data=sent)
    assert done.status_code == 303
    assert done.headers["location"] == f"{invoice_at(worlds[0], 4)}?done=contested#contest"
    shown = plain(await page.get(done.headers["location"]))
    assert "Votre contestation de la facture est enregistrée" in shown
    assert "Le &lt;b&gt;prix" in shown
    assert "La décision est attendue" in shown
    assert "/contester" not in shown
    assert '<tr class="contested">' in (await page.get("/gestion/factures")).text
    again = await page.post(invoice_at(worlds[0], 4, "contester"), data=sent)
    assert again.status_code == 422
    assert "ou l’est déjà" in plain(again).replace("\n", " ")
    withdrawn = await page.post(invoice_at(worlds[0], 4, "retirer"), data={"csrf": csrf(form)})
    shown = plain(await page.get(withdrawn.headers["location"]))
    assert "La contestation de la facture est retirée" in shown
    assert "contestation retirée" in shown
    assert "/contester" in shown, "its days are not over"
    for _ in range(2):
        twice = await page.post(invoice_at(worlds[0], 4, "retirer"), data={"csrf": csrf(form)})
        assert twice.status_code == 422


async def test_what_an_address_says_was_done_is_not_believed(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    for done in ("contested", "withdrawn", "<script>"):
        shown = plain(await page.get(f"{invoice_at(worlds[0], 0)}?done={done}"))
        assert "enregistrée" not in shown
        assert "est retirée" not in shown
        assert "<script>" not in shown.replace('<script src="/static', "")
        at = f"/gestion/releves/{worlds[0].statement_id}?done={done}&line=2"
        assert 'class="done"' not in (await page.get(at)).text


async def test_with_htmx_the_contest_of_an_invoice_alone_comes_back(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    form = await page.get(invoice_at(worlds[0], 1) + "?lang=en")
    assert f'hx-post="{invoice_at(worlds[0], 1, "contester")}?lang=en"' in form.text
    headers = {"HX-Request": "true"}
    for reason in ("  ", "x" * 2001):
        refused = await page.post(
            invoice_at(worlds[0], 1, "contester"),
            data={"csrf": csrf(form), "reason": reason},
            headers=headers,
        )
        assert refused.status_code == 422
        assert "<details open>" in refused.text
        assert "Indiquez un motif" in refused.text
        assert f">{reason.strip()}</textarea>" in refused.text
    done = await page.post(
        invoice_at(worlds[0], 1, "contester") + "?lang=en",
        data={"csrf": csrf(form), "reason": "Twice"},
        headers=headers,
    )
    assert done.status_code == 200
    assert done.text.lstrip().startswith('<section id="contest"')
    assert "<html" not in done.text
    assert "Your dispute of the invoice is recorded." in done.text
    without = await page.post(invoice_at(worlds[0], 2, "contester"), data={"reason": "x"})
    assert without.status_code == 403


@pytest.mark.parametrize(("days_ago", "is_open"), [(14, True), (20, False)])
async def test_an_invoice_that_nobody_contests_in_time_is_presumed_accepted(
    page: httpx.AsyncClient,
    worlds: tuple[World, World],
    database: Database,
    days_ago: int,
    is_open: bool,
) -> None:
    await lie_open(database, worlds[0], days_ago)
    shown = plain(await page.get(invoice_at(worlds[0], 7)))
    assert ("Présumée acceptée" in shown) is not is_open
    assert ("/contester" in shown) is is_open
    assert ("Présumée acceptée" in plain(await page.get("/gestion/factures"))) is not is_open
    answer = await page.post(
        invoice_at(worlds[0], 7, "contester"),
        data={"csrf": csrf(await page.get("/account")), "reason": "Trop tard ?"},
    )
    assert answer.status_code == (303 if is_open else 422)
    assert is_open or "délai pour contester est passé" in plain(answer)


async def test_a_contested_line_keeps_its_invoice_from_being_presumed_accepted(
    page: httpx.AsyncClient, worlds: tuple[World, World], database: Database
) -> None:
    token = csrf(await page.get(f"/gestion/releves/{worlds[0].statement_id}"))
    sent = {"csrf": token, "reason": "Comptée deux fois"}
    assert (await page.post(contesting(worlds[0], 3), data=sent)).status_code == 303
    await lie_open(database, worlds[0], 40)
    shown = plain(await page.get(invoice_at(worlds[0], 3)))
    assert "Ligne contestée" in shown
    assert f'href="/gestion/releves/{worlds[0].statement_id}"' in shown
    assert "Présumée acceptée" not in shown


async def test_a_decision_shows_its_reason_and_the_document_that_puts_it_right(
    page: httpx.AsyncClient, worlds: tuple[World, World], database: Database
) -> None:
    world = worlds[0]
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            """
            INSERT INTO dispute (client_id, invoice_id, month, opened_at, opened_by,
                                 window_ends_on, reason, held_cents, decided_at, decided_by,
                                 decision, decision_reason, correction_id)
            VALUES (%(client)s, %(upheld)s, '2026-10-01', '2026-11-03', 'x', '2026-11-17', 'Double',
                    0, '2026-11-05', 'y', 'upheld', 'Vérifié <i>sur place</i>', %(made)s),
                   (%(client)s, %(rejected)s, '2026-10-01', '2026-11-03', 'x', '2026-11-17', 'Cher',
                    0, '2026-11-05', 'y', 'rejected', 'Le tarif est affiché', NULL)
            """,
            {
                "client": world.client_id,
                "upheld": world.invoice_ids[0],
                "rejected": world.invoice_ids[1],
                "made": world.invoice_ids[2],
            },
        )
    shown = plain(await page.get(invoice_at(world, 0)))
    for text in (
        "Contestation acceptée",
        "Décision du 05/11/2026 : contestation acceptée.",
        "Motif : Vérifié &lt;i&gt;sur place",
        f'<a href="{invoice_at(world, 2)}">alpha-F-2026-000003</a>',
    ):
        assert text in shown, text
    shown = plain(await page.get(invoice_at(world, 1)))
    assert "Motif : Le tarif est affiché" in shown
    assert "/contester" not in shown, "it is decided"


async def test_anothers_invoice_is_not_there_even_to_who_paid_it(
    page: httpx.AsyncClient, worlds: tuple[World, World], database: Database
) -> None:
    """A manager who charges at another client's has invoices there: as a driver, no more."""
    async with await connect(database, owner=True) as owner:
        await owner.execute("ALTER TABLE invoice DISABLE TRIGGER USER")
        await owner.execute(
            "INSERT INTO driver (person_id) SELECT id FROM person WHERE email = %s", (MANAGER,)
        )
        await owner.execute(
            """
            UPDATE invoice SET person_id = (SELECT id FROM person WHERE email = %s) WHERE id = %s
            """,
            (MANAGER, worlds[1].invoice_ids[0]),
        )
    token = csrf(await page.get(invoice_at(worlds[0], 0)))
    sent = {"csrf": token, "reason": "x"}
    for number in (0, 1):
        answers = [await page.get(invoice_at(worlds[1], number))]
        for verb in ("contester", "retirer"):
            answers.append(await page.post(invoice_at(worlds[1], number, verb), data=sent))
        for answer in answers:
            assert answer.status_code == 404, answer.request.url
            assert "beta" not in answer.text
    assert (await page.get("/gestion/factures/999999999999")).status_code == 404
    async with await connect(database, owner=True) as owner:
        cursor = await owner.execute("SELECT count(*) FROM dispute")
        assert await cursor.fetchone() == (0,)


async def test_names_are_text_wherever_they_stand(
    page: httpx.AsyncClient, worlds: tuple[World, World], database: Database
) -> None:
    async with await connect(database, owner=True) as owner:
        for statement in (
            "UPDATE person SET given_name = '<img src=x>' WHERE family_name = 'alpha'",
            "UPDATE client SET legal_name = '<img src=y>' WHERE name = 'alpha'",
            "UPDATE site SET name = '<img src=z>'",
        ):
            await owner.execute(statement.encode())
    at = f"/gestion/releves/{worlds[0].statement_id}"
    drawn = "/gestion/rapports?kind=consumption&month=2026-10"
    for path in (*PAGES, at, invoice_at(worlds[0], 0), drawn):
        assert not re.search("<img src=[xyz]", (await page.get(path)).text), path
    assert "&lt;img src=x" in (await page.get("/gestion/utilisateurs")).text


@pytest.mark.parametrize("month", ["0001-01", "9999-12", "2026-13", "2026-1", "２０２６-10", "%00"])
async def test_a_month_that_is_none_is_the_last_one(page: httpx.AsyncClient, month: str) -> None:
    for path in PAGES:
        answer = await page.get(f"{path}?month={month}")
        assert answer.status_code == 200, path


async def test_a_page_behind_the_last_is_the_last(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    shown = plain(await page.get(f"/gestion/releves/{worlds[0].statement_id}?page=99"))
    assert "Lignes 51 à 60 sur 60" in shown


async def test_the_other_language_shows_the_same_thing(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    at = f"/gestion?client={worlds[0].client_id}&month=2026-09"
    shown = await page.get(at)
    assert f'href="?client={worlds[0].client_id}&amp;month=2026-09&amp;lang=en"' in shown.text


async def test_scripts_come_from_here_alone_and_only_on_these_pages(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    for path in (*PAGES, f"/gestion/releves/{worlds[0].statement_id}"):
        answer = await page.get(path)
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        scripts = re.findall(r"<script[^>]*>[^<]*</script>", answer.text)
        assert scripts == ['<script src="/static/htmx.min.js" defer></script>'], path
        assert not re.search(r'\s(style|on[a-z]+)="', answer.text), path
    for path in ("/login", "/account", "/gestionnaire"):
        policy = (await page.get(path)).headers["content-security-policy"]
        assert "script-src" not in policy
    assert (await page.get("/static/htmx.min.js")).status_code == 200
    assert "Zero-Clause BSD" in (await page.get("/static/htmx-LICENSE.txt")).text
