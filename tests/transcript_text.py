"""The text of transcripts: lines, times, expected frames and rows. See tests.conversation."""

import contextlib
import json
import re
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema

from csms.wire.schema import load_schema

ERROR_CODES = {
    "ocpp1.6": "NotImplemented NotSupported InternalError ProtocolError SecurityError "
    "FormationViolation PropertyConstraintViolation OccurenceConstraintViolation "
    "TypeConstraintViolation GenericError",
    "ocpp2.0.1": "FormatViolation GenericError InternalError MessageTypeNotSupported "
    "NotImplemented NotSupported OccurrenceConstraintViolation PropertyConstraintViolation "
    "ProtocolError RpcFrameworkError SecurityError TypeConstraintViolation",
}
_TIME = re.compile(r"@(now|naive|paris_as_z|paris)((?:[+-]\d+[dhms]|\d+[dhms])*)")
_STEP = re.compile(r"([+-]?)(\d+)([dhms])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_WILD = re.compile(r'"(?:[^"\\]|\\.)*"|\*|\$\w+|\.\.\.')


def with_times(line: str, began_at: datetime) -> str:
    """The line with @now and its kin as times."""
    return _TIME.sub(lambda found: _time(found[1], found[2], began_at), line)


def _time(kind: str, steps: str, moment: datetime) -> str:
    sign = 1
    for stated, count, unit in _STEP.findall(steps):
        sign = {"+": 1, "-": -1}.get(stated, sign)
        moment += sign * timedelta(**{_UNITS[unit]: int(count)})
    if kind.startswith("paris"):
        moment = moment.astimezone(ZoneInfo("Europe/Paris"))
    zone = "Z" if kind in ("now", "paris_as_z") else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{zone}"


def with_known(text: str, known: dict[str, Any]) -> str:
    """A frame with what $names stand for, outside of its texts."""
    return _WILD.sub(lambda m: json.dumps(known[m[0][1:]]) if m[0][0] == "$" else m[0], text)


def matches(expected: Any, got: Any, known: dict[str, Any]) -> bool:
    """Whether a frame is what a pattern says; new $names are remembered in `known`."""
    if isinstance(expected, str) and expected.startswith("\x00"):
        if expected == "\x00*":
            return True
        return bool(known.setdefault(expected[2:], got) == got)
    if isinstance(expected, dict) and isinstance(got, dict):
        wanted = expected.keys() - {"\x00..."}
        is_whole = len(wanted) == len(expected)
        return (wanted == got.keys() if is_whole else wanted <= got.keys()) and all(
            matches(expected[name], got[name], known) for name in wanted
        )
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(
            matches(*pair, known) for pair in zip(expected, got, strict=True)
        )
    return type(expected) is type(got) and bool(expected == got)


def check_answer(frame: list[Any], protocol: str, action: str | None) -> None:
    """The payload of a CALLRESULT by its schema, a CALLERROR by the words of its version.

    Raises: AssertionError, jsonschema.ValidationError.
    """
    if frame[0] == 3:
        if action is not None:
            validator(protocol, action).validate(frame[2])
        return
    kind, _, code, description, details = frame
    assert kind == 4
    assert code in ERROR_CODES[protocol].split(), code
    assert len(description) <= 255
    assert isinstance(details, dict)


@cache
def validator(protocol: str, action: str) -> Any:
    """Of the response to an action."""
    schema = load_schema(protocol, action, response=True)
    return jsonschema.validators.validator_for(schema)(
        schema, format_checker=jsonschema.FormatChecker()
    )


def lines_of(text: str) -> list[tuple[int, str]]:
    """(number, line) of all that is to be played, continued lines joined."""
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line[:1].isspace() and line.strip():
            first, former = lines[-1]
            lines[-1] = (first, f"{former} {line.strip()}")
        elif line.strip() and not line.startswith("#"):
            lines.append((number, line.rstrip()))
    return lines


def pattern(text: str) -> Any:
    """An expected frame; what is no JSON in it becomes texts that begin with NUL."""

    def mark(found: re.Match[str]) -> str:
        token = found[0]
        if token[0] == '"':
            return token
        return '"\\u0000...":0' if token == "..." else f'"\\u0000{token}"'

    return json.loads(_WILD.sub(mark, text))


def fits(expected: str, got: Any) -> bool:
    """Whether a column holds what the transcript says."""
    if expected == "-" or got is None:
        return expected == "-" and got is None
    if isinstance(got, list):
        return sorted(filter(None, expected.split(","))) == sorted(map(str, got))
    if isinstance(got, datetime):
        return datetime.fromisoformat(expected) == got
    if isinstance(got, bool):
        return expected == str(got).lower()
    if isinstance(got, int | float | Decimal):
        with contextlib.suppress(InvalidOperation):
            return Decimal(expected) == Decimal(str(got))
        return False
    return expected == str(got)


def column(row: dict[str, Any], name: str) -> Any:
    value: Any = row
    for part in name.split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    return value if isinstance(value, int | float | list | None) else str(value)
