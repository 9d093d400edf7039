"""What the answer to an order is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from simulators.station import Station

Payload = dict[str, Any]
Effect = Callable[[datetime], None]


@dataclass
class Answer:
    """`effect` None: there is nothing to do once the response is out."""

    response: Payload
    effect: Effect | None = None


class OrderError(Exception):
    """An order that is answered by CALLERROR. `code`: of the station's version."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


Handler = Callable[[Station, Payload, datetime], Answer]


def status(word: str, effect: Effect | None = None) -> Answer:
    """The answer that is a status and nothing else."""
    return Answer({"status": word}, effect)


def too_many(station: Station, what: str, most: int) -> OrderError:
    """More items in one message than the station takes."""
    # 1.6 writes the code with one r, and 2.0.1 with two.
    code = "OccurrenceConstraintViolation" if station.is_201 else "OccurenceConstraintViolation"
    return OrderError(code, f"at most {most} {what} in one message")


def evse_of(payload: Payload) -> int | None:
    """The EVSE that an order of 2.0.1 names; None: it names none."""
    evse = payload.get("evse")
    return None if evse is None else int(evse["id"])


def moment(text: str) -> datetime:
    """An RFC 3339 time; without a zone it is UTC.

    Raises: ValueError.
    """
    read = datetime.fromisoformat(text)
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read
