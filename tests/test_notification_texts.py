"""What mails say: every event in every language, in its typography."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from csms.db import Database
from csms.notifications import rendering, writing
from csms.notifications.catalogue import CATALOGUE
from csms.notifications.detection import INTERRUPTIONS
from csms.notifications.rendering import LANGUAGES, render
from tests.recorder_node import query

AT = "2026-11-22T13:05:00+00:00"
VALUES: dict[str, Any] = {
    **dict.fromkeys(("at", "expires_at", "started_at", "from_at", "since"), AT),
    **dict.fromkeys(("ended_at", "until_at"), "2026-11-22T15:10:00+00:00"),
    **dict.fromkeys(("due_on", "from_on", "ends_on"), "2026-12-22"),
    "group": "Résidents",
    "why": "Dossier complexe",
    "outcome": "Fait.",
    "number": 7,
    "late": True,
    "link": "https://supervision.example.org/x#token=abc",
    "device": "Firefox",
    "place": "192.0.2.7",
    "change": "set up",
    "station_id": "CP-1",
    "evse_id": 2,
    "site": "Résidence Exemple",
    "time_zone": "Europe/Paris",
    "energy_wh": 7_412,
    "reason": "power",
    "error_code": "GroundFailure",
    "badge": "Badge bleu",
    "request": "access",
    "client": "Résidence Exemple",
    "contract": "D-2026-17",
    "month": "2026-10-01",
    "net_cents": 123_456,
    "balance": "due",
    "contest_until": "2026-11-12",
    "missing": 2,
    "clients": "Résidence Exemple, Résidence Modèle",
    "what": "C00002-F-2026-000007",
    "decision": "upheld",
    "invoice": "C00002-F-2026-000007",
    "amount_cents": 4_567,
    "mandate": "MD-2026-7",
    "creditor": "FR12ZZZ123456",
    "bank_reason": "AM04",
    "settled_on": "2026-11-13",
    "reference": "T2P-2026-10-2",
    "level": 2,
    "is_last": True,
    "iban": "FR7630006000011234567890189",
    "blocked_on": "2026-12-28",
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event", CATALOGUE)
def test_every_event_has_a_text_that_uses_what_it_is_told(event: str, language: str) -> None:
    mail = render(event, language, VALUES, name="Camille")
    assert 5 < len(mail.subject) < 78
    assert "{" not in mail.text and "None" not in mail.text
    texts = rendering._texts(language)[event]
    assert texts.keys() <= {"subject", "body", "facts", "button", "note"}
    for label, _ in texts.get("facts", []):
        assert f"\n{label}" in mail.text, f"{label} is said"
    assert f'<html lang="{language}">' in mail.html


@pytest.mark.parametrize("event", CATALOGUE)
def test_what_is_not_known_is_left_out(event: str) -> None:
    mail = render(event, "fr", {})
    assert "None" not in mail.text
    assert not re.search(r"\u00a0: ?$", mail.text, re.MULTILINE), "no label without a value"


@pytest.mark.parametrize("event", CATALOGUE)
def test_french_has_its_spaces_and_apostrophes(event: str) -> None:
    mail = render(event, "fr", VALUES, name="Camille", choices_url="https://example.org/a")
    for text in (mail.subject, re.sub(r"https?://\S+", "", mail.text)):
        assert "'" not in text
        assert not re.search(r"[^\u00a0][;?!»]", text), text
        assert not re.search(r"[^\u00a0\d]:|« ", text), text


def test_both_languages_have_the_same_texts() -> None:
    french, english = rendering._texts("fr"), rendering._texts("en")
    assert french.keys() == english.keys()
    for event in french:
        assert french[event].keys() == english[event].keys(), event
        if "facts" in french[event]:
            sources = [
                [source for _, source in texts[event]["facts"]] for texts in (french, english)
            ]
            names = [re.findall(r"\{\{ (\w+)", " ".join(source)) for source in sources]
            assert names[0] == names[1], event
    assert set(INTERRUPTIONS.values()) | {"silent"} <= french["reasons"].keys()


async def test_every_reason_to_block_a_badge_has_its_words(database: Database) -> None:
    ((rule,),) = await query(
        database,
        """SELECT pg_get_constraintdef(oid) FROM pg_constraint
            WHERE conname = 'token_blocked_why_check'""",
    )
    reasons = set(re.findall(r"'(\w+)'", rule))
    assert {"lost", "stolen"} <= reasons <= rendering._texts("fr")["reasons"].keys()


def test_numbers_and_times_are_written_as_people_read_them() -> None:
    paris = ZoneInfo("Europe/Paris")
    at = datetime(2026, 11, 22, 13, 5, tzinfo=UTC)
    assert writing.number(Decimal("1234.555"), 2, "fr") == "1\u00a0234,56"
    assert writing.number(Decimal("1234.555"), 2, "en") == "1,234.56"
    assert writing.energy(0, "fr") == "0,00\u00a0kWh"
    assert writing.energy(None, "fr") == ""
    assert writing.moment(at, paris, "fr") == "22/11/2026\u00a014:05"
    assert writing.moment(at, paris, "en") == "22\u00a0Nov\u00a02026,\u00a014:05"
    assert writing.moment(datetime(2026, 7, 14, 22, 30, tzinfo=UTC), paris, "fr") == (
        "15/07/2026\u00a000:30"
    )
    assert writing.money(-123_405, "fr") == "\u22121\u00a0234,05\u00a0€"
    assert writing.money(123_405, "en") == "€1,234.05"
    assert writing.month(at.date(), "fr") == "novembre\u00a02026"
    assert writing.duration(at, datetime(2026, 11, 22, 13, 50, tzinfo=UTC)) == "45\u00a0min"
    assert writing.duration(at, datetime(2026, 11, 23, 14, 10, tzinfo=UTC)) == "25\u00a0h\u00a005"
    assert writing.french("« Oui » : non ?") == "«\u00a0Oui\u00a0»\u00a0: non\u00a0?"


def test_a_value_is_never_a_template_nor_markup() -> None:
    evil = "{{ 7 * 7 }}<script>alert(1)</script>"
    mail = render("station.offline", "fr", {"station_id": evil, "site": evil})
    assert "49" not in mail.subject + mail.text + mail.html
    assert "<script>" not in mail.html and "&lt;script&gt;" in mail.html


def test_a_link_is_one_of_the_web_or_none() -> None:
    mail = render("account.reset", "fr", {"link": "javascript:alert(1)"})
    assert "javascript" not in mail.text + mail.html


def test_a_zone_that_does_not_exist_is_that_of_paris() -> None:
    for zone in ("Nowhere/At_All", "../etc/passwd", None):
        mail = render("station.back", "fr", {"since": AT, "time_zone": zone})
        assert "22/11/2026\u00a014:05" in mail.text
