"""Requests of the central system: which there are, whether one is valid, what an answer means.

`place` is the way into the queue of `csms.commands` for whatever is put in the words of the wire:
the operator's API and command line, and our own orders. The schemas are those that the `ocpp`
package ships, held to the letter: what we send is valid, or it is not sent (promise 8).
"""

import functools
import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

import jsonschema
import msgspec
from jsonschema.protocols import Validator
from psycopg import AsyncConnection

from csms import commands, services
from csms.config import Settings
from csms.registry import Conflict, NotThere, Refusal
from csms.store import commands as store
from csms.wire import schema
from csms.wire.dispatch import VERSIONS

#: a station on hold is not told to charge (OCPP 1.6, 4.2)
HELD_16: Final = ("RemoteStartTransaction", "RemoteStopTransaction")

_BOTH_WAYS: Final = frozenset({"DataTransfer"})
#: words of a status that say yes; all others say no
_ACCEPTING: Final = frozenset(
    {"Accepted", "AcceptedCanceled", "RebootRequired", "Scheduled", "Unlocked", "Unpublished"}
)
_ERROR_LENGTH_MAX: Final = 300


class OrderRefused(Refusal):
    """An order that cannot be placed, and why."""


@functools.cache
def actions(protocol: str) -> frozenset[str]:
    """What the central system may ask in this version."""
    version = VERSIONS[protocol]
    return (version.known - version.requests.keys()) | _BOTH_WAYS


async def place(
    connection: AsyncConnection,
    station_id: str,
    action: str,
    payload: Mapping[str, Any],
    *,
    origin: str,
    now: datetime,
    expires_in_s: float,
    settings: Settings,
    created_by: str | None = None,
    notify: bool = True,
) -> int:
    """Put an order into the queue, in the caller's transaction; its id.

    `origin` is `csms.commands.OPERATOR`, or "us:" and why. `notify` is False where the caller wakes
    the node himself, after the commit. Raises: NotThere for an unknown station, OrderRefused for
    what its version does not know or its schema does not allow, or when too many orders wait for
    the station already; Conflict for a service that the contract of the station's client does not
    open, in an order of a person.
    """
    target = await store.fetch_target(connection, station_id)
    if target is None:
        raise NotThere(f"There is no station {station_id}.")
    if target.protocol is None:
        raise OrderRefused(
            f"Nobody knows yet whether {station_id} speaks OCPP 1.6 or 2.0.1: set its protocol, "
            "or let it connect once.",
            "protocol",
        )
    check(target.protocol, action, payload)
    if not origin.startswith("us:"):
        service = await services.order_open(connection, station_id, action, now)
        if not service.open:
            raise Conflict(service.text("en"), "action")
    if target.queued >= settings.command_queue_commands_max:
        raise OrderRefused(
            f"{target.queued} orders wait for {station_id} already: cancel some, or wait until it "
            "is back.",
            "action",
        )
    if len(msgspec.json.encode(payload)) > settings.frame_bytes_max:
        raise OrderRefused(
            f"The payload has more than {settings.frame_bytes_max} bytes, the most that a frame "
            "may have.",
            "payload",
        )
    row = commands.command_row(
        target.station_key,
        target.protocol,
        action,
        payload,
        origin=origin,
        now=now,
        expires_in_s=min(expires_in_s, settings.command_expires_in_max_s),
        created_by=created_by,
    )
    (command_id,) = await store.insert_commands(connection, [row], notify=notify)
    return command_id


def check(protocol: str, action: str, payload: Mapping[str, Any]) -> None:
    """Accept a request of ours. Raises: OrderRefused, saying what the schema wants where."""
    if action not in actions(protocol):
        known = ", ".join(sorted(actions(protocol)))
        raise OrderRefused(
            f"{action} is no order of {_spoken(protocol)}, which has: {known}.", "action"
        )
    fault = _fault(_validator(protocol, action, response=False), payload)
    if fault is not None:
        raise OrderRefused(f"{action} of {_spoken(protocol)}: {fault}.", "payload")


def fault_of_answer(protocol: str, action: str, response: object) -> str | None:
    """How an answer departs from its schema; None when it does not."""
    return _fault(_validator(protocol, action, response=True), response)


def status_of(response: Mapping[str, Any]) -> str:
    """`accepted` or `rejected`, as the status in the answer says; without one it is accepted."""
    status = response.get("status")
    if status is None:
        return "accepted"
    return "accepted" if isinstance(status, str) and status in _ACCEPTING else "rejected"


def error_json(code: str, description: str, details: Any = None) -> str:
    """Why an order failed, as it is kept."""
    return msgspec.json.encode(
        {"code": code, "description": description, "details": details or {}}
    ).decode()


@functools.cache
def _validator(protocol: str, action: str, *, response: bool) -> Validator:
    document = schema.load_schema(protocol, action, response=response)
    kind: Any = jsonschema.validators.validator_for(document)
    extend: Any = jsonschema.validators.extend
    exact = extend(kind, {"multipleOf": _multiple_of})
    made: Validator = exact(document, format_checker=_FORMATS)
    return made


def _multiple_of(
    validator: Validator, step: float, value: object, _: object
) -> Iterator[jsonschema.ValidationError]:
    """Tenths as people write them: 6.3 is a multiple of 0.1, which floats do not know."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if (
        value in (math.inf, -math.inf)
        or value != value
        or Fraction(str(value)) % Fraction(str(step))
    ):
        yield jsonschema.ValidationError(f"{value} is not a multiple of {step}")


_FORMATS: Final = jsonschema.FormatChecker(())


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    """RFC 3339 with a zone, as all times that we send."""
    return not isinstance(value, str) or (
        "T" in value.upper() and datetime.fromisoformat(value).tzinfo is not None
    )


def _fault(validator: Validator, value: Any) -> str | None:
    found: Any = jsonschema.exceptions.best_match(validator.iter_errors(value))
    if found is None:
        return None
    place = ".".join(str(part) for part in found.absolute_path) or "the payload"
    message = str(found.message)
    if len(message) > _ERROR_LENGTH_MAX:
        message = message[:_ERROR_LENGTH_MAX] + "..."
    return f"{place}: {message}"


def _spoken(protocol: str) -> str:
    return protocol.replace("ocpp", "OCPP ")


def held(protocol: str, *, on_hold: bool) -> tuple[str, ...]:
    """Actions that must wait until the station is accepted."""
    return HELD_16 if on_hold and protocol == "ocpp1.6" else ()


def plain_json(text: str | None) -> Any:
    """The value of a stored JSON text; None of none."""
    return None if text is None else json.loads(text)
