"""How a point stands for a driver, and what came of a start: facts in, words out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csms.domain.point import Asked, Hold, State, Why, asked, sentence, standing

NOW = datetime(2026, 12, 1, 17, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINE = Hold(NOW - HOUR, NOW + HOUR, 7)
OTHERS = Hold(NOW - HOUR, NOW + HOUR, None)
FREE: dict[str, Any] = {
    "status": "available",
    "status_at": NOW - HOUR,
    "connected": True,
    "disconnected_at": None,
    "occupied_since": None,
    "my_session": False,
    "holds": (),
    "now": NOW,
}


@pytest.mark.parametrize(
    ("facts", "state", "mine"),
    [
        ({}, State.FREE, False),
        ({"status": "preparing"}, State.PLUGGED, False),
        ({"status": "occupied"}, State.PLUGGED, False),  # 2.0.1: plugged in, nobody charges
        ({"status": "occupied", "occupied_since": NOW}, State.OCCUPIED, False),
        ({"status": "suspended_ev"}, State.OCCUPIED, False),
        ({"occupied_since": NOW, "my_session": True}, State.OCCUPIED, True),
        ({"occupied_since": NOW, "my_session": True, "connected": False}, State.OCCUPIED, True),
        ({"connected": False, "status": "faulted"}, State.OFFLINE, False),
        ({"status": "faulted"}, State.OUT_OF_ORDER, False),
        ({"status": "unavailable", "holds": (MINE,)}, State.OUT_OF_ORDER, False),
        ({"holds": (MINE,)}, State.RESERVED, True),
        ({"status": "reserved", "holds": (OTHERS,)}, State.RESERVED, False),
        ({"status": "preparing", "holds": (OTHERS,)}, State.RESERVED, False),
        ({"status": "reserved"}, State.RESERVED, False),
        ({"holds": (Hold(NOW + HOUR, NOW + 2 * HOUR, None),)}, State.FREE, False),
        ({"status": "unknown"}, State.UNKNOWN, False),
    ],
)
def test_how_a_point_stands(facts: dict[str, Any], state: State, mine: bool) -> None:
    found = standing(**{**FREE, **facts})
    assert (found.state, found.mine) == (state, mine)


def test_offline_says_since_when() -> None:
    since = NOW - 3 * HOUR
    found = standing(**{**FREE, "connected": False, "disconnected_at": since})
    assert found.since == since


def test_every_reason_has_a_sentence_in_both_languages() -> None:
    for why in Why:
        french, english = sentence(why, "fr", 3), sentence(why, "en", 3)
        assert french.endswith(".") and english.endswith(".") and french != english
        assert "{" not in french + english


@pytest.mark.parametrize(
    ("order", "session", "late", "found"),
    [
        ("queued", None, False, Asked("asked")),
        ("sent", None, False, Asked("asked")),
        ("sent", None, True, Asked("refused", Why.STATION_IGNORES)),
        ("accepted", None, False, Asked("accepted")),
        ("accepted", None, True, Asked("refused", Why.STATION_IGNORES)),
        ("rejected", None, False, Asked("refused", Why.STATION_REFUSED)),
        ("failed", None, False, Asked("refused", Why.STATION_IGNORES)),
        ("expired", None, False, Asked("refused", Why.STATION_OFFLINE)),
        ("cancelled", None, False, Asked("refused", Why.STATION_OFFLINE)),
        ("accepted", "Accepted", True, Asked("started")),
        ("failed", "Accepted", True, Asked("started")),  # it did it, and its answer was lost
        ("accepted", "ConcurrentTx", False, Asked("refused", Why.TOO_MANY_SESSIONS)),
        ("accepted", "Blocked", False, Asked("refused", Why.BADGE_BLOCKED)),
    ],
)
def test_what_came_of_a_start(order: str, session: str | None, late: bool, found: Asked) -> None:
    assert found == asked(
        order_status=order,
        was_sent=order != "queued",
        no_answer=True,
        session_status=session,
        due_at=NOW,
        now=NOW + HOUR if late else NOW - HOUR,
    )
