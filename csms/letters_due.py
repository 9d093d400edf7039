"""Operators are told of the letters that L.215-1 asks for: when their window opens, and once more
before it closes.

A letter that is missed lets the client leave on any day, free of charge.
"""

from datetime import datetime, timedelta
from typing import Final

from psycopg import AsyncConnection

from csms import contracts, deadlines
from csms.domain import contract as rules
from csms.notifications import announce

WINDOW_DAYS_MAX: Final = 100  # from the first to the last day of a letter, and some more
REMINDER_DAYS: Final = 14  # before the last day


async def announce_letters(connection: AsyncConnection, now: datetime) -> int:
    """Tell of the windows that are open and of which no letter is noted; how many are open."""
    today = deadlines.paris_day(now)
    found = 0
    async with connection.transaction():
        since = today - timedelta(days=WINDOW_DAYS_MAX)
        for contract, milestone in await contracts.calendar(connection, since, today):
            anniversary_on = milestone.anniversary_on
            if milestone.kind != "letter_from" or anniversary_on is None:
                continue
            first, last = rules.letter_window(anniversary_on)
            if last < today or rules.was_told(contracts.core_of(contract), anniversary_on):
                continue
            found += 1
            is_late = today >= last - timedelta(days=REMINDER_DAYS)
            await announce(
                connection,
                "contract.notice",
                now=now,
                client_id=contract.client_id,
                subject=f"contract {contract.id}",
                data={
                    "client": contract.client,
                    "contract": contract.devis_reference,
                    "from_on": first,
                    "due_on": last,
                    "ends_on": anniversary_on - timedelta(days=1),
                },
                key=f"letter {contract.id} {anniversary_on}" + (" reminder" if is_late else ""),
            )
    return found
