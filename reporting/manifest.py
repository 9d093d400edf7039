"""The manifest of a monthly collection: which files, with which digests, and what was corrected or
left out, and why.

It holds nothing of the moment of writing: the same month gives the same bytes.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from csms.domain.session import Flag
from reporting.collection import Collection
from reporting.store import LeftOut

CHUNK_BYTES: Final = 1_048_576
#: what was decided about a session whose messages were not whole, or not believed
WHY: Final[dict[str, str]] = {
    Flag.OFFLINE: "told after the fact: the station had no link",
    Flag.LOST_STOP: "its stop never came: it ends at its last reading",
    Flag.LATE_STOP: "its stop came after it had been given up, and was taken",
    Flag.OVERLAP: "another session began on the connector before its stop: it ends there",
    Flag.STARTED_MISSING: "its start never came: it begins with the first message of it",
    Flag.ENDED_BEFORE_STARTED: "its end was told before its start",
    Flag.BEGIN_REGISTER_MISSING: "the register at its begin is not known: the first reading stands",
    Flag.END_REGISTER_MISSING: "the register at its end is not known: the last reading stands",
    Flag.METER_BACKWARDS: "the register ran backwards: no energy is counted for that",
    Flag.METER_DISCONTINUITY: "the register was reset or leapt: energy is counted around it",
    Flag.METER_GLITCH: "one reading was out of line, and not believed",
    Flag.ENERGY_IMPLAUSIBLE: "its energy is more than the connector can deliver in the time",
    Flag.UNIT_SUSPECT: "its register may be in another unit than it says",
    Flag.NO_DURATION: "it has energy within no time: the clock knows minutes only",
    Flag.END_BEFORE_START: "the clock put its end before its start: the end is the start",
    Flag.CLOCK_MISSING: "the station told no time: that of arrival stands",
    Flag.CLOCK_IMPLAUSIBLE: "the station's clock was not set: times of arrival stand",
    Flag.CLOCK_AHEAD: "the station's clock was ahead",
    Flag.CLOCK_CORRECTED: "times were corrected by how far the station's clock was off",
    Flag.REFUSED: "its badge was refused and the station charged all the same",
    Flag.UNAUTHORIZED: "no badge was ever accepted for it",
    Flag.SEQ_GAP: "messages of it are missing",
    Flag.EVENTS_LOST: "messages of it are lost, as the station says",
    Flag.MATCHED_BY_GUESS: "its stop named no known transaction: it was matched by its place",
    Flag.TRANSACTION_ID_REUSED: "its transaction number was used twice",
    Flag.DOUBTFUL_REPEAT: "it may be the repetition of another one",
    Flag.SETTLED: "put right by a person on the desk",
    Flag.CONFIRMED: "confirmed by a person on the desk",
}
LEFT_OUT: Final[dict[str, str]] = {
    "goes_on": "it had not ended when the month did",
    "not_matched": "a message that belongs to no session: it waits on the desk, nothing is counted",
    "dismissed": "a message that a person dismissed on the desk",
}


def render(collection: Collection, left_out: Sequence[LeftOut], paths: Sequence[Path]) -> str:
    """The manifest as JSON text; ends with a line break."""
    content: dict[str, Any] = {
        "month": str(collection.month),
        "client": collection.client,
        "rule": "sessions that ended in the month, Europe/Paris; energy in Wh",
        "files": [_file(path) for path in paths],
        "sessions": collection.sessions,
        "energy_wh": collection.energy_wh,
        "unknown_energy": collection.unknown_energy,
        "corrected": [
            {"session_id": session_id, "flags": {flag: WHY.get(flag, flag) for flag in flags}}
            for session_id, flags in collection.corrected
        ],
        "left_out": [_left_out(row) for row in left_out],
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _left_out(row: LeftOut) -> dict[str, Any]:
    return {
        "what": row.what,
        "id": row.id,
        "station_id": row.station_id,
        "at": row.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "reason": LEFT_OUT[row.reason],
        "detail": row.detail,
    }


def _file(path: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return {"name": path.name, "bytes": size, "sha256": digest.hexdigest()}
