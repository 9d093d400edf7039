"""Sessions as rows and back: JSON values by column name, times in ISO."""

from datetime import datetime
from typing import Any, Final

from csms.domain import session as sessions
from csms.domain.session import Session, State
from csms.domain.values import UTC

_TIMES: Final = (
    "started_at",
    "ended_at",
    "stated_started_at",
    "stated_ended_at",
    "received_start_at",
    "received_end_at",
    "last_register_at",
    "readings_from_at",
    "readings_to_at",
)
_PLAIN: Final = tuple(
    sorted(
        set(Session.__slots__)
        - set(_TIMES)
        - {"change", "is_new", "flags", "seq_no_missing", "state"}
    )
)


def session_row(station_key: int, session: Session) -> dict[str, Any]:
    """The session as a row of the table."""
    row: dict[str, Any] = {name: getattr(session, name) for name in _PLAIN}
    for name in _TIMES:
        moment = getattr(session, name)
        row[name] = None if moment is None else moment.isoformat()
    row["station_key"] = station_key
    row["state"] = session.state.value
    row["flags"] = sorted(session.flags)
    row["seq_no_missing"] = list(session.seq_no_missing)
    return row


def session_from_row(row: dict[str, Any]) -> Session:
    """The session that a row (as to_json gives it) holds."""
    session = Session(
        row["id"],
        start_key=row["start_key"],
        transaction_id=row["transaction_id"],
        state=State(row["state"]),
        started_at=datetime.fromisoformat(row["started_at"]),
    )
    for name in _PLAIN:
        setattr(session, name, row[name])
    for name in _TIMES:
        text = row[name]
        setattr(
            session, name, None if text is None else datetime.fromisoformat(text).astimezone(UTC)
        )
    session.flags = frozenset(row["flags"])
    session.seq_no_missing = tuple(row["seq_no_missing"])
    session.is_new = False
    session.change = sessions.UNCHANGED
    return session
