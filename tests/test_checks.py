"""`time2plug check`: silent on what the recorder wrote, and loud on every broken promise."""

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from csms import checks, db
from csms.config import Settings
from csms.db import Database
from tests.recorder_node import (
    CallRefused,
    as_owner,
    event,
    provision,
    query,
    reading,
    running_node,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture
async def filled(database: Database, settings: Settings) -> AsyncIterator[Database]:
    """A database with sessions of all sorts, as the recorder writes them."""
    await provision(database, ["CP1", "CP2"], ["A", "B"])
    async with running_node(database, settings) as node:
        one, two = await node.station("CP1"), await node.station("CP2", "ocpp2.0.1")
        first = (await one.start("A", ago_s=900))["transactionId"]
        await one.call("MeterValues", reading(1400, ago_s=600, transactionId=first))
        await one.stop(first, register_wh=1500, ago_s=300)
        await one.start("B", evse_id=2, register_wh=7)
        with pytest.raises(CallRefused):
            await one.call("StartTransaction", {"idTag": "A"})
        await one.stop(77, register_wh=5)
        for seq_no, kind in enumerate(("Started", "Updated", "Ended")):
            told = event(kind, "t1", seq_no, badge="A", register_wh=100 + 10 * seq_no, ago_s=50)
            await two.call("TransactionEvent", told)
        last = event("Ended", "t1", 2, badge="A", register_wh=120, ago_s=50)
        await two.call("TransactionEvent", last)
        await two.call("TransactionEvent", event("Ended", "t2", 4, register_wh=300))
        # The same reading again in another event, and under a meter that begins anew.
        for number, register_wh in enumerate((500, 700, 3, 9)):
            update = event("Updated", "t3", number, register_wh=register_wh, ago_s=40 - number)
            await two.call("TransactionEvent", update)
        await two.call("TransactionEvent", event("Ended", "t3", 4, register_wh=11))
    yield database


async def offences(database: Database) -> dict[str, list[str]]:
    """What the checks find, by the name of the check: subject and detail."""
    async with await db.connect(database) as connection:
        found = await checks.find_offences(connection, datetime.now(UTC))
    return {
        check.name: [f"{offence.subject}: {offence.detail}" for offence in offences]
        for check, offences in found
        if offences
    }


async def test_what_the_recorder_wrote_keeps_every_promise(filled: Database) -> None:
    assert await offences(filled) == {}


async def test_an_empty_database_keeps_every_promise(database: Database) -> None:
    assert await offences(database) == {}


@pytest.mark.parametrize(
    "statements",
    [
        (
            "ALTER TABLE session DROP CONSTRAINT session_energy_wh_check",
            "UPDATE session SET energy_wh = -1 WHERE transaction_id = 't1'",
        ),
        ("UPDATE session SET energy_wh = 21 WHERE transaction_id = 't1'",),
        ("UPDATE session SET energy_wh = 5 WHERE transaction_id = 't2'",),
    ],
    ids=["negative", "more than measured", "without registers"],
)
async def test_energy_beyond_its_registers_is_found(
    filled: Database, statements: tuple[str, ...]
) -> None:
    await as_owner(filled, *statements)
    found = await offences(filled)
    assert len(found.pop("energy beyond registers")) == 1
    assert set(found) <= {"energy beside registers"}


async def test_energy_that_a_faultless_meter_does_not_show_is_found(filled: Database) -> None:
    await as_owner(filled, "UPDATE session SET energy_wh = 19 WHERE transaction_id = 't1'")
    (name,), ((offence,),) = zip(*(await offences(filled)).items(), strict=True)
    assert name == "energy beside registers"
    assert "19 Wh from 100.000 to 120.000" in offence


async def test_energy_that_a_person_settled_stands_for_itself(filled: Database) -> None:
    await as_owner(
        filled,
        "UPDATE session SET energy_wh = 21, flags = flags || '{settled}'"
        " WHERE transaction_id = 't1'",
    )
    assert await offences(filled) == {}


async def test_an_end_without_evidence_is_found(filled: Database) -> None:
    await as_owner(filled, "DELETE FROM session_event WHERE kind = 'ended'")
    found = await offences(filled)
    assert list(found) == ["ends without evidence"]
    assert len(found["ends without evidence"]) == 4


async def test_a_start_counted_twice_is_found(filled: Database) -> None:
    await as_owner(
        filled,
        "ALTER TABLE session DROP CONSTRAINT session_station_key_start_key_key",
        "UPDATE session SET start_key = (SELECT start_key FROM session WHERE transaction_id = 't1')"
        " WHERE transaction_id = 't2'",
    )
    assert list(await offences(filled)) == ["starts counted twice"]


async def test_sessions_at_the_same_time_on_one_evse_are_found(filled: Database) -> None:
    await as_owner(filled, "UPDATE session SET evse_id = 1 WHERE evse_id = 2")
    assert await offences(filled) == {}, "one began when the other had ended"
    await as_owner(
        filled,
        "UPDATE session SET started_at = started_at - interval '8 min' WHERE token_uid = 'B'",
    )
    found = await offences(filled)
    assert list(found) == ["unflagged overlaps"]
    assert "on EVSE 1 of CP1" in found["unflagged overlaps"][0]
    await as_owner(filled, "UPDATE session SET flags = '{overlap}' WHERE token_uid = 'B'")
    assert await offences(filled) == {}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reconciliation SET frame = ''",
        "DELETE FROM ocpp_message m USING reconciliation r WHERE m.at = r.received_at",
    ],
)
async def test_a_case_without_its_frame_is_found(filled: Database, statement: str) -> None:
    await as_owner(filled, statement)
    assert list(await offences(filled)) == ["cases without frame"]


async def test_an_empty_frame_that_came_is_a_case_like_any_other(filled: Database) -> None:
    await as_owner(
        filled,
        """
        WITH came AS (
            INSERT INTO ocpp_message (at, station_key, direction, protocol, frame)
            SELECT now(), station_key, 'in', 'ocpp1.6', '' FROM station WHERE id = 'CP1'
            RETURNING at, station_key
        )
        INSERT INTO reconciliation (station_key, received_at, reason, frame, digest)
        SELECT station_key, at, 'unreadable_frame', '', 1 FROM came
        """,
    )
    assert await offences(filled) == {}


async def test_a_case_older_than_the_journal_needs_only_its_own_frame(filled: Database) -> None:
    await as_owner(filled, "TRUNCATE ocpp_message")
    assert await offences(filled) == {}
    await as_owner(filled, "UPDATE reconciliation SET received_at = '2020-01-01'")
    assert await offences(filled) == {}


async def test_a_session_that_waits_for_a_retired_station_is_found(filled: Database) -> None:
    await as_owner(filled, "UPDATE station SET retired_at = now() WHERE id = 'CP1'")
    assert await offences(filled) == {}, "the worker has its time"
    await as_owner(
        filled, "UPDATE station SET retired_at = now() - interval '2 h' WHERE id = 'CP1'"
    )
    found = await offences(filled)
    assert list(found) == ["active on retired stations"]
    assert "CP1 was retired at" in found["active on retired stations"][0]


@pytest.mark.parametrize("transaction", ["t1", "first"])
async def test_an_acknowledged_start_without_session_is_found(
    filled: Database, transaction: str
) -> None:
    if transaction == "first":
        ((transaction,),) = await query(
            filled, "SELECT transaction_id FROM session WHERE token_uid = 'B'"
        )
    await as_owner(
        filled,
        f"DELETE FROM session_event e USING session s"
        f" WHERE s.id = e.session_id AND s.transaction_id = '{transaction}'",
        f"DELETE FROM session WHERE transaction_id = '{transaction}'",
    )
    found = await offences(filled)
    assert list(found) == ["answered without session"]
    assert f"transaction {transaction}" in found["answered without session"][0]


async def test_acknowledged_readings_that_are_not_stored_are_found(filled: Database) -> None:
    await as_owner(
        filled,
        "DELETE FROM meter_reading WHERE session_id ="
        " (SELECT id FROM session WHERE token_uid = 'A' AND evse_id = 1 ORDER BY id LIMIT 1)",
    )
    found = await offences(filled)
    assert list(found) == ["answered without readings"]
    assert "MeterValues" in found["answered without readings"][0]


@pytest.mark.parametrize(
    "statements",
    [
        (
            "ALTER TABLE token ALTER client_id DROP NOT NULL",
            "UPDATE token SET client_id = NULL WHERE uid = 'A'",
        ),
        ("INSERT INTO session_event (session_id, received_at, kind) VALUES (5, now(), 'ended')",),
        (
            "INSERT INTO evse_status (station_key, at, received_at, evse_id, status)"
            " VALUES (9999, now(), now(), 1, 'available')",
        ),
    ],
    ids=["badge", "evidence", "status"],
)
async def test_a_row_that_leads_to_no_client_is_found(
    filled: Database, statements: tuple[str, ...]
) -> None:
    await as_owner(filled, *statements)
    found = await offences(filled)
    assert list(found) == ["rows without client"]
    assert len(found["rows without client"]) == 1


async def test_a_table_that_can_lead_to_no_client_is_found(filled: Database) -> None:
    await as_owner(filled, "CREATE TABLE diary (entry text)")
    assert list((await offences(filled))["tables without client"]) == [
        "table diary: leads to no client and to no person"
    ]


@pytest.mark.native
async def test_a_link_that_ends_otherwise_than_its_connection_is_found(filled: Database) -> None:
    await as_owner(
        filled,
        """INSERT INTO station_connection (station_key, node, generation, protocol,
                                           remote_address, connected_at, last_seen_at)
           SELECT station_key, 'n', 1, 'ocpp1.6', '', now(), now() FROM station WHERE id = 'CP1'""",
        """INSERT INTO station_link (station_key, at, up, node)
           SELECT station_key, now(), false, 'n' FROM station WHERE id = 'CP1'""",
    )
    found = await offences(filled)
    assert list(found) == ["links told otherwise"]
    assert "station CP1: is connected, and its link is down" in found["links told otherwise"][0]


async def test_a_month_without_partition_is_found(filled: Database) -> None:
    month = datetime.now(UTC).strftime("%Y_%m")
    await as_owner(filled, f"ALTER TABLE evse_status DETACH PARTITION evse_status_{month}")
    await as_owner(filled, f"DROP TABLE evse_status_{month}")
    assert await offences(filled) == {
        "missing partitions": [f"table evse_status: no partition for {month}"]
    }


async def test_a_table_of_the_application_is_found(
    filled: Database, administrator: object, settings: Settings
) -> None:
    await as_owner(filled, "GRANT CREATE ON SCHEMA public TO t2p_service")
    async with await db.connect(filled) as connection:
        await connection.execute("CREATE TABLE mine (client_id bigint)")
    assert await offences(filled) == {"owned by application": ["mine: is owned by t2p_service"]}


async def test_the_command_tells_what_holds_and_what_is_broken(
    filled: Database, settings: Settings, tmp_path: Path
) -> None:
    environment = {
        "T2P_DATABASE_URL": filled.app_url,
        "T2P_DATABASE_OWNER_URL": filled.owner_url,
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "160",
    }

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "csms", "check"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    done = check()
    assert (done.returncode, done.stderr) == (0, "")
    assert "every session that is over has what ended it on record" in done.stdout
    assert "Readings, statuses and messages are kept in " in done.stdout
    await as_owner(filled, "DELETE FROM session_event WHERE kind IN ('ended', 'lost')")
    done = check()
    assert done.returncode == 1
    assert "ends without evidence: 4" in done.stdout


def test_a_database_that_does_not_answer_is_no_broken_promise(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    away = replace(settings, database_url="host=127.0.0.1 port=1 user=t2p_app dbname=none")
    assert checks.run(away) == checks.UNPROVED
    error = capsys.readouterr().err
    assert error.startswith("time2plug: the checks could not be run: ")
    assert error.count("\n") == 1


def test_no_more_offences_are_printed_than_a_person_reads(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rich.console import Console

    found = [(check, []) for check in checks.CHECKS[1:]]
    many = [checks.Offence("session \x1b[1m7", f"[red]{n}", 1200) for n in range(5)]
    checks.show([(checks.CHECKS[0], many), *found], Console(width=200))
    out = capsys.readouterr().out
    assert "1,200" in out
    assert "session ?[1m7: [red]4" in out
    assert "and 1,195 more" in out
