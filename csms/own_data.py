"""A person's own data in one file: what the register says is exported, and nothing of others.

A ZIP with

- donnees.json: everything, for machines (GDPR article 20): one object, `sections` by the names of
  the register, each a list of rows by column; times are RFC 3339 in UTC, energy in Wh;
- sessions.csv: charging sessions for a spreadsheet: semicolons, UTF-8 with a byte order mark, times
  of Paris, decimal commas;
- resume.html: what it is, for reading, in French or English.

It is read in one transaction of the people's role, so that row-level security decides what is hers.
Rows go through as they come: what is held at a time is one batch, the file is on the disk.
"""

import csv
import io
import json
import tempfile
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from html import escape
from typing import IO, Any, Final

from psycopg import AsyncConnection

from csms.deadlines import PARIS
from csms.domain.spreadsheet import defused
from csms.processing import Register, Section
from csms.store import own

SPOOL_BYTES_MAX: Final = 4 * 1024 * 1024  # in memory; beyond it the file is on the disk
SESSIONS: Final = "sessions"

_TEXTS: Final = {
    "fr": {
        "title": "Vos données chez Time2Plug",
        "made": "Extrait le {day} à {time}.",
        "machine": "Toutes les données sont dans donnees.json, les sessions aussi dans "
        "sessions.csv. Ce fichier les résume.",
        "section": "Catégorie",
        "rows": "Nombre",
        "sessions": "Sessions de recharge par année",
        "year": "Année",
        "energy": "Énergie (kWh)",
        "withheld": "Ne figurent pas ici\u00a0: les secrets (mots de passe, codes), que nous ne "
        "conservons que sous forme de condensats, et les données d’autrui.",
        "rights": "Vous pouvez faire rectifier ou effacer ces données, vous opposer à leur "
        "traitement ou en demander la limitation\u00a0: {contact}. "
        "Réclamations\u00a0: {authority}.",
        "names": {
            "profile": "Profil",
            "billing_identity": "Identité de facturation",
            "payment_means": "Moyens de paiement (références)",
            "groups": "Groupes",
            "group_requests": "Propositions de groupe",
            "badges": "Badges",
            "badge_orders": "Commandes de badge",
            "sessions": "Sessions de recharge",
            "reservations": "Réservations",
            "starts": "Départs demandés",
            "clients_managed": "Copropriétés gérées",
            "log_ins": "Connexions",
            "acts": "Actes tracés",
            "consents": "Consentements",
            "requests": "Demandes",
            "notifications": "Notifications",
            "notification_choices": "Choix de notification",
            "quiet_hours": "Heures de silence",
            "point_watches": "Alertes de point libre",
        },
    },
    "en": {
        "title": "Your data at Time2Plug",
        "made": "Made on {day} at {time}.",
        "machine": "All data are in donnees.json, the sessions also in sessions.csv. This file is "
        "a summary.",
        "section": "Category",
        "rows": "Number",
        "sessions": "Charging sessions by year",
        "year": "Year",
        "energy": "Energy (kWh)",
        "withheld": "Not in here: secrets (passwords, codes), of which we keep digests only, and "
        "data of others.",
        "rights": "You may have these data corrected or erased, object to their processing or ask "
        "for its restriction: {contact}. Complaints: {authority}.",
        "names": {
            "profile": "Profile",
            "billing_identity": "Billing identity",
            "payment_means": "Means of payment (references)",
            "groups": "Groups",
            "group_requests": "Requests of groups",
            "badges": "Badges",
            "badge_orders": "Orders of badges",
            "sessions": "Charging sessions",
            "reservations": "Reservations",
            "starts": "Starts asked for",
            "clients_managed": "Co-ownerships managed",
            "log_ins": "Log-ins",
            "acts": "Acts in the audit",
            "consents": "Consents",
            "requests": "Requests",
            "notifications": "Notifications",
            "notification_choices": "Choices of notifications",
            "quiet_hours": "Quiet hours",
            "point_watches": "Wishes to be told of a free point",
        },
    },
}
_CSV_NAMES: Final = {
    "fr": (
        *("Session", "Borne", "Point de charge", "Site", "Badge", "État", "Début", "Fin"),
        *("Compteur au début (kWh)", "Compteur à la fin (kWh)", "Énergie (kWh)"),
    ),
    "en": (
        *("Session", "Station", "Charging point", "Site", "Badge", "State", "Begin", "End"),
        *("Meter at begin (kWh)", "Meter at end (kWh)", "Energy (kWh)"),
    ),
}


@dataclass(slots=True)
class Counts:
    """What went into the file, for its summary."""

    rows: dict[str, int] = field(default_factory=dict)  # by section
    years: dict[int, tuple[int, int]] = field(default_factory=dict)  # sessions, Wh; year of Paris

    def add_session(self, row: dict[str, Any]) -> None:
        """Count a session in the year in which it began."""
        year = row["started_at"].astimezone(PARIS).year
        sessions, energy_wh = self.years.get(year, (0, 0))
        self.years[year] = (sessions + 1, energy_wh + (row["energy_wh"] or 0))


async def export(
    connection: AsyncConnection, register: Register, person_id: int, language: str, now: datetime
) -> IO[bytes]:
    """The ZIP, read from its begin on; the caller closes it. `connection` is in a transaction that
    works for the person."""
    file = tempfile.SpooledTemporaryFile(SPOOL_BYTES_MAX)  # noqa: SIM115 - the caller closes it
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            counts = Counts()
            with archive.open("donnees.json", "w", force_zip64=True) as part:
                await _write_json(connection, register, person_id, now, part, counts)
            sessions = next(s for s in register.sections if s.name == SESSIONS)
            with archive.open("sessions.csv", "w", force_zip64=True) as part:
                rows = own.stream_section(connection, sessions, person_id)
                await _write_csv(rows, language, part)
            archive.writestr("resume.html", summary(register, counts, language, now))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


async def _write_json(
    connection: AsyncConnection,
    register: Register,
    person_id: int,
    now: datetime,
    part: IO[bytes],
    counts: Counts,
) -> None:
    head = {"exported_at": _plain(now), "person_id": person_id, "controller": register.controller}
    part.write(json.dumps(head, ensure_ascii=False)[:-1].encode() + b', "sections": {')
    for number, section in enumerate(register.sections):
        part.write((",\n" if number else "\n").encode() + json.dumps(section.name).encode())
        part.write(b": [")
        counts.rows[section.name] = await _write_rows(connection, section, person_id, part, counts)
        part.write(b"]")
    part.write(b"\n}}\n")


async def _write_rows(
    connection: AsyncConnection, section: Section, person_id: int, part: IO[bytes], counts: Counts
) -> int:
    number = 0
    async for row in own.stream_section(connection, section, person_id):
        values = {name: _plain(value) for name, value in row.items()}
        text = json.dumps(values, ensure_ascii=False, default=str)
        part.write((",\n" if number else "\n").encode() + text.encode())
        number += 1
        if section.name == SESSIONS:
            counts.add_session(row)
    return number


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


async def _write_csv(rows: AsyncIterator[dict[str, Any]], language: str, part: IO[bytes]) -> None:
    text = io.TextIOWrapper(part, encoding="utf-8-sig", newline="", write_through=True)
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(_CSV_NAMES[language])
    async for row in rows:
        values = [
            *(row["id"], row["station_id"], row["evse_id"], row["site_id"], row["token_uid"]),
            *(row["state"], _local(row["started_at"]), _local(row["ended_at"])),
            *(_kwh(row[n], language) for n in ("meter_start_wh", "meter_stop_wh", "energy_wh")),
        ]
        writer.writerow([_cell(value) for value in values])
    text.detach()


def _local(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(PARIS):%d/%m/%Y %H:%M:%S}"


def _kwh(value_wh: Decimal | int | None, language: str) -> str:
    if value_wh is None:
        return ""
    text = f"{Decimal(value_wh) / 1000:.3f}"
    return text.replace(".", ",") if language == "fr" else text


def _cell(value: object) -> object:
    return defused(value) if isinstance(value, str) else value


def summary(register: Register, counts: Counts, language: str, now: datetime) -> str:
    """The page that says what the file is."""
    text: dict[str, Any] = _TEXTS[language]
    local = now.astimezone(PARIS)
    day = f"{local:%d/%m/%Y}" if language == "fr" else f"{local:%Y-%m-%d}"
    sections = "\n".join(
        f"<tr><td>{escape(text['names'].get(name, name))}</td><td>{number}</td></tr>"
        for name, number in counts.rows.items()
    )
    years = "\n".join(
        f"<tr><td>{year}</td><td>{sessions}</td><td>{_kwh(energy_wh, language)}</td></tr>"
        for year, (sessions, energy_wh) in sorted(counts.years.items())
    )
    rights = text["rights"].format(**register.controller)
    return f"""<!doctype html>
<html lang="{language}">
<head><meta charset="utf-8"><title>{escape(text["title"])}</title></head>
<body>
<h1>{escape(text["title"])}</h1>
<p>{escape(text["made"].format(day=day, time=f"{local:%H:%M}"))}</p>
<p>{escape(text["machine"])}</p>
<table><tr><th>{escape(text["section"])}</th><th>{escape(text["rows"])}</th></tr>
{sections}
</table>
<h2>{escape(text["sessions"])}</h2>
<table><tr><th>{escape(text["year"])}</th><th>{escape(text["rows"])}</th>\
<th>{escape(text["energy"])}</th></tr>
{years}
</table>
<p>{escape(text["withheld"])}</p>
<p>{escape(rights)}</p>
</body>
</html>
"""
