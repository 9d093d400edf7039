"""Operators hear of the letters of L.215-1 in time, once, and once more before it is too late."""

from datetime import UTC, datetime

import pytest

from csms import db
from csms.db import Database
from csms.letters_due import announce_letters
from tests.recorder_node import as_owner, query


@pytest.fixture
async def contract(database: Database) -> Database:
    """One from 2026-01-01 for three years: notice until 2028-09-30 at the latest, or so."""
    await as_owner(
        database,
        """INSERT INTO client (name) VALUES ('Résidence Exemple'), ('Exemple SA');
           INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on,
                                 term_months)
           VALUES (2, 'non_professionnel', 'D-1', '2025-12-01', '2026-01-01', 36),
                  (3, 'professionnel', 'D-2', '2025-12-01', '2026-01-01', 36)""",
    )
    return database


async def announce_on(database: Database, year: int, month: int, day: int) -> int:
    async with await db.connect(database) as connection:
        return await announce_letters(connection, datetime(year, month, day, 12, tzinfo=UTC))


async def told(database: Database) -> list[tuple[str, str, str]]:
    return await query(
        database,
        """SELECT data ->> 'contract', data ->> 'from_on', data ->> 'due_on'
             FROM notification WHERE event = 'contract.notice' ORDER BY id""",
    )


async def test_a_letter_is_told_of_when_its_window_opens_and_before_it_closes(
    contract: Database,
) -> None:
    assert await announce_on(contract, 2028, 6, 1) == 0
    assert await announce_on(contract, 2028, 7, 2) == 1
    (first,) = await told(contract)
    for day in (3, 10, 20):
        assert await announce_on(contract, 2028, 7, day) == 1
    assert await told(contract) == [first]
    last = datetime.fromisoformat(first[2])
    for day in (last.day, last.day):
        assert await announce_on(contract, last.year, last.month, day) == 1
    assert await told(contract) == [first, first], "the reminder"
    assert await announce_on(contract, 2028, 12, 1) == 0


async def test_a_letter_that_was_sent_is_due_no_more(contract: Database) -> None:
    await as_owner(
        contract,
        "INSERT INTO contract_letter (contract_id, client_id, sent_on) VALUES (1, 2, '2028-07-15')",
    )
    assert await announce_on(contract, 2028, 7, 20) == 0
    assert await told(contract) == []
