"""`time2plug demo --once`: the main job on a machine that has nothing, in small."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import facturx  # type: ignore[import-untyped]
import pytest
from lxml import etree

from csms.demo import stations_csv
from csms.demo_people import CLIENTS
from csms.demo_public import columns_of
from simulators.replay import plan_stations
from simulators.shifting import last_full_month
from simulators.synthetic import generate
from tests import schematron, table_schema
from tests.conftest import free_ports
from tests.test_irve_files import DATA, official_faults

ROOT = Path(__file__).parent.parent
HEADING = "session_ID;Garage_ID;User_ID;User_type;Shared_ID;Start_plugin;End_plugout;El_kWh"
TIMEOUT_S = 300


def sessions_csv() -> str:
    """Sessions of the last full month, in the format of the real file, with its anomalies."""
    month = datetime.strptime(last_full_month(datetime.now(UTC)), "%Y-%m").replace(tzinfo=UTC)
    lines = [HEADING]
    for number in range(20):
        user = f"G{number % 3}-{number % 5}"
        shared = "NA" if number % 4 else f"G{number % 3}-S1"
        kind = "Private" if number % 4 else "Shared"
        started_at = month + timedelta(days=number + 2, hours=17, minutes=number)
        ended_at = started_at + timedelta(hours=(number + 1) % 3 * 4)  # every third has none
        end = "NA" if number == 13 else f"{ended_at:%d.%m.%Y %H:%M}"
        energy = f"{20 + number % 7},{number:02}"
        start = f"{started_at:%d.%m.%Y %H:%M}"
        lines.append(f"{number};G{number % 3};{user};{kind};{shared};{start};{end};{energy}")
    # What sets the end of the file's time, and lies in no month that is over.
    today = datetime.now(UTC)
    lines.append(f"99;G0;G0-0;Private;NA;{today:%d.%m.%Y} 00:00;{today:%d.%m.%Y} 00:01;0,1")
    return "\n".join(lines) + "\n"


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    ocpp_port, http_port = free_ports(2)
    plain = {k: v for k, v in os.environ.items() if not k.startswith("T2P_")}
    return subprocess.run(
        [sys.executable, "-m", "csms", "demo", "--once", "--sessions", "sessions.csv"],
        cwd=folder,
        env=plain
        | {
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "120",
            "T2P_OCPP_PORT": str(ocpp_port),
            "T2P_HTTP_PORT": str(http_port),
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def collected(folder: Path) -> list[dict[str, object]]:
    """The rows of the collection that the demonstration wrote."""
    month = last_full_month(datetime.now(UTC))
    text = (folder / "data" / "demo" / f"collecte-{month}.json").read_text(encoding="utf-8")
    found = json.loads(text)
    return found["sessions"] if isinstance(found, dict) else found  # type: ignore[no-any-return]


@pytest.mark.timeout(2 * TIMEOUT_S)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the official schema's reader
def test_every_watt_hour_arrives_and_running_it_again_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "sessions.csv").write_text(sessions_csv(), encoding="utf-8")
    first = demo(tmp_path)
    assert (first.returncode, first.stderr) == (0, ""), first.stdout
    assert "Every session and every watt-hour arrived." in first.stdout
    assert "20 of them end in" in first.stdout
    assert "1 are left out" in first.stdout
    assert "1 without plug-out" in first.stdout
    assert "clients under contract with a manager each" in " ".join(first.stdout.split())
    assert first.stdout.count("Log-in ") == 3
    rows = collected(tmp_path)
    assert len(rows) == 20
    check_roaming(tmp_path / "data" / "demo", first.stdout)
    reports = [path.suffix for path in (tmp_path / "data" / "demo" / "rapports").iterdir()]
    assert sorted(reports) == [".pdf", ".pdf", ".xlsx", ".xlsx"]
    again = demo(tmp_path)
    assert (again.returncode, again.stderr) == (0, ""), again.stdout
    assert collected(tmp_path) == rows
    month = last_full_month(datetime.now(UTC))
    assert "garages" in {path.stem for path in (tmp_path / "data" / "demo").iterdir()}
    summary = (tmp_path / "data" / "demo" / f"collecte-{month}-resume.txt").read_text()
    assert summary.strip()
    assert "The books hold" in again.stdout
    check_documents(tmp_path / "data" / "demo" / "facturation")
    check_open_data(tmp_path / "data" / "demo", flat(again.stdout), tmp_path)
    for told in (first.stdout, again.stdout):
        assert re.search(r"[1-9] clients were paid [0-9.,]+ EUR by a simulated bank", flat(told))
        assert "The hub has nothing to complain about." in flat(told)
    assert "settled nothing new" in flat(again.stdout)
    paid = tmp_path / "data" / "demo" / "paiements"
    (order,) = [path for path in paid.glob("T2P-V-*.xml") if "reponse" not in path.name]
    document = etree.fromstring(order.read_bytes())
    assert document.nsmap[None] == "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
    assert len(list(paid.glob("releve-bancaire-*.xml"))) == 1


def check_roaming(folder: Path, told: str) -> None:
    """A driver of a partner came to her CDR; of a private garage all sessions of the month did,
    each with the energy that the collection has and without any driver."""
    cdrs = json.loads((folder / "itinerance" / "cdrs.json").read_text(encoding="utf-8"))
    contracts = Counter(cdr["cdr_token"]["contract_id"] for cdr in cdrs)
    assert contracts["FREMPC00000000X"] == 1
    anonymous = [cdr for cdr in cdrs if cdr["cdr_token"]["country_code"] == "$$"]
    assert len(anonymous) == len(cdrs) - 1 > 0
    (garage,) = {cdr["cdr_location"]["id"] for cdr in anonymous}
    rows = [row for row in collected(folder.parent.parent) if row["site_id"] == garage]
    assert sorted(cdr["total_energy"] for cdr in anonymous) == sorted(
        int(str(row["energy_wh"])) / 1000 for row in rows if row["energy_wh"] is not None
    )
    assert f"{len(cdrs)} CDRs" in flat(told)


def check_open_data(folder: Path, told: str, scratch: Path) -> None:
    """Public points are in both national files by the official schema, private ones nowhere."""
    with (folder / "garages.csv").open(encoding="utf-8", newline="") as file:
        garages = list(csv.DictReader(file))
    static = (folder / "irve" / "irve-statique.csv").read_bytes()
    dynamic = (folder / "irve" / "irve-dynamique.csv").read_bytes()
    assert table_schema.faults(static, table_schema.STATIC) == []
    assert table_schema.faults(dynamic, table_schema.DYNAMIC) == []
    if DATA.exists():
        assert official_faults(static, "statique", scratch) == []
        assert official_faults(dynamic, "dynamique", scratch) == []
    public = [row for row in garages if row["public"] == "true"]
    private = [row for row in garages if row["public"] == "false"]
    assert public and private
    identifiers = sorted(row["evse_uid"] for row in public)
    for content in (static, dynamic):
        found = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        assert sorted(row["id_pdc_itinerance"] for row in found) == identifiers
    open_sites = {row["site_id"] for row in public}
    assert any(row["site_id"] in open_sites for row in private), "beside public ones, too"
    for row in private:
        hidden = {row["station_id"], re.sub("[^A-Z0-9]", "X", row["station_id"].upper())}
        if row["site_id"] not in open_sites:
            hidden.add(row["site_name"])
        for name in hidden:
            assert not re.search(rf"{re.escape(name)}(?![0-9])", (static + dynamic).decode()), name
    assert all(uid.startswith("FRXXXE") for uid in identifiers)
    assert "FRXXX, which is nobody's: they are fictitious" in told
    assert "Both obey the official schema" in told and "irve-dynamique.csv" in told


def test_the_demonstration_has_twenty_public_points_and_more_private_ones() -> None:
    rows = list(csv.DictReader(io.StringIO(stations_csv(plan_stations(generate(1))), newline="")))
    public = [row for row in rows if row["public"] == "true"]
    assert 20 <= len(public) < len(rows) - len(public)
    assert len({row["evse_uid"] for row in public}) == len(public)
    assert not any(
        row["evse_uid"] or row["site_static_brand_name"] for row in rows if row not in public
    )
    assert len({row["client"] for row in public}) == 4


def test_long_names_have_identifiers_of_their_own() -> None:
    names = [f"Garage de la très longue rue des Tilleuls, place {n}" for n in range(30)]
    found = [columns_of(name, name, 1, CLIENTS[0].name) for name in names]
    for column in ("evse_uid", "site_static_afirev_station_id"):
        assert len({row[column] for row in found}) == 30
        for row in found:
            assert re.fullmatch("FRXXX[EP][A-Z0-9]{1,29}", row[column])


def flat(text: str) -> str:
    return " ".join(text.split())


def check_documents(folder: Path) -> None:
    """Every statement in each format; every kind of document, valid by the official rules."""
    statements = Counter(path.suffix for path in folder.glob("releve-*"))
    assert statements == {".pdf": 3, ".csv": 3, ".xlsx": 3, ".json": 3}
    types, cases = set(), set()
    for path in sorted(folder.glob("facture-*.pdf")):
        _, xml = facturx.get_xml_from_pdf(path.read_bytes(), check_xsd=True)
        assert schematron.broken(xml) == [], path.name
        document = etree.fromstring(xml)
        types |= set(document.xpath("//*[local-name()='ExchangedDocument']/*[2]/text()"))
        cases |= set(document.xpath("//*[local-name()='CategoryCode']/text()"))
    assert types == {"380", "381", "384"}
    assert cases == {"S", "E", "O"}


def test_a_file_that_cannot_be_read_is_told_with_its_line(tmp_path: Path) -> None:
    text = sessions_csv().replace("Private", "Privat", 1)
    (tmp_path / "sessions.csv").write_text(text, encoding="utf-8")
    done = demo(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("time2plug: line ")
    assert "Privat" in done.stderr
    assert not (tmp_path / "data").exists(), "nothing was started"
