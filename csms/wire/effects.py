"""What a station's answer to an order changes on our side.

An effect runs in the transaction that writes the answer, also when the answer comes late: what a
station has accepted is true of it from then on. One that fails leaves the answer written and is
told in the log: our bookkeeping must not lose what the station said.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg import AsyncConnection


class Answered(NamedTuple):
    """An order and the station's answer to it, both as JSON values."""

    station_key: int
    station_id: str
    protocol: str
    command_id: int
    action: str
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    now: datetime


Effect = Callable[[AsyncConnection, Answered], Awaitable[None]]

#: by (protocol, action); no entry: the answer changes nothing here
EFFECTS: Final[dict[tuple[str, str], Effect]] = {}


async def apply(connection: AsyncConnection, answered: Answered) -> None:
    """Do what follows from an answer. Raises: whatever the effect does."""
    effect = EFFECTS.get((answered.protocol, answered.action))
    if effect is not None:
        await effect(connection, answered)
