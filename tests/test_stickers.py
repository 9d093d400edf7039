"""Stickers of points: what is printed is read again; and the pages they lead to."""

from dataclasses import replace

import httpx
import pypdfium2
import pytest
import zxingcpp

from csms import db
from csms.config import Settings
from csms.db import Database
from csms.stickers import Sticker, make_pdf, starred
from tests.people import add_driver, add_manager, add_site, add_station
from tests.scenarios.gate import Gate, open_gate
from tests.test_api_me import http


def read(pdf: bytes) -> tuple[list[str], str]:
    """The QR codes on all sheets, as a camera sees them, and their text."""
    codes, text = [], ""
    document = pypdfium2.PdfDocument(pdf)
    try:
        for page in document:
            image = page.render(scale=3).to_pil()
            codes += [found.text for found in zxingcpp.read_barcodes(image)]
            text_page = page.get_textpage()
            text += text_page.get_text_bounded()
            text_page.close()
            page.close()
    finally:
        document.close()
    return codes, text


def test_every_sticker_leads_to_its_point_and_says_whose_it_is() -> None:
    labels = [
        Sticker(
            f"https://example.org/p/AAAAA{n}", f"AAAAA{n}", "Résidence de l’Œillet", "", "FRT2PE1"
        )
        for n in range(2, 10)
    ]
    labels.append(Sticker("https://example.org/p/BBBBBB", "BBBBBB", "x" * 200, "Place n° 4", None))
    pdf = make_pdf(labels, phone="01 23 45 67 89")
    codes, text = read(pdf)
    assert sorted(codes) == sorted(label.url for label in labels)
    assert len(pypdfium2.PdfDocument(pdf)) == 2
    assert "Scannez pour charger" in text and "Résidence de l'Oeillet" in text
    assert "FR*T2P*E1" in text and "Assistance : 01 23 45 67 89" in text and "n° 4" in text
    assert "Scan to charge" in read(make_pdf(labels[:1], phone=None, language="en"))[1]


def test_identifiers_are_printed_as_people_read_them() -> None:
    assert starred("FRT2PE12") == "FR*T2P*E12"
    assert starred("FR") == "FR"


@pytest.fixture
async def gate(settings: Settings, database: Database) -> Gate:
    await add_site(database)
    return Gate(settings, database)


async def test_stickers_are_for_operators_and_the_sites_managers(
    gate: Gate, database: Database
) -> None:
    codes = await add_station(database, "CP1", 3)
    manager = await add_manager(database, "manager", "Résidence Exemple")
    other = await add_manager(database, "other", "Time2Plug")
    driver = await add_driver(database, "driver")
    settings = replace(gate.settings, public_url="https://charge.example.org/")
    async with (
        open_gate(settings, database) as running,
        http(running, manager) as managers,
        http(running, other) as others,
        http(running, driver) as drivers,
    ):
        where = {"site_id": "exemple"}
        made = await managers.get("/points/stickers.pdf", params=where)
        assert made.headers["content-type"] == "application/pdf"
        assert sorted(read(made.content)[0]) == sorted(
            f"https://charge.example.org/p/{code}" for code in codes
        )
        assert (await others.get("/points/stickers.pdf", params=where)).status_code == 404
        assert (await drivers.get("/points/stickers.pdf", params=where)).status_code == 403


async def test_the_page_of_a_point_tells_nobody_more_than_is_public(
    gate: Gate, database: Database
) -> None:
    private, public = await add_station(database, "CP1", 2)
    async with await db.connect(database, owner=True) as owner:
        await owner.execute("UPDATE evse SET public = true WHERE evse_id = 2")
    async with (
        open_gate(gate.settings, database),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{gate.settings.http_port}") as browser,
    ):
        page = await browser.get(f"/p/{public.lower()}")
        assert page.status_code == 200 and "Hors ligne" in page.text
        assert "Connectez-vous pour charger" in page.text and "Résidence Exemple" in page.text
        page = await browser.get(f"/p/{private}", params={"lang": "en"})
        assert "Offline" not in page.text and "Log in to charge" in page.text
        for nowhere in ("222222", "x'\"<"):
            assert (await browser.get(f"/p/{nowhere}")).status_code == 404


async def test_codes_outlive_the_configuration_of_their_station(
    gate: Gate, database: Database
) -> None:
    before = await add_station(database, "CP1", 2)
    assert len(set(before)) == 2
    async with await db.connect(database, owner=True) as owner:
        await owner.execute("DELETE FROM evse")
        await owner.execute(
            "INSERT INTO evse (station_key, evse_id) SELECT station_key, n FROM station, "
            "generate_series(1, 3) n"
        )
        rows = await owner.execute("SELECT code FROM point ORDER BY evse_id")
        after = [row[0] for row in await rows.fetchall()]
    assert after[:2] == before and len(set(after)) == 3
