"""What a simulated charge point answers to the central system's calls, and what they do to it.

`answer` gives the response and, where the call has one, an effect; `carry_out` lets that happen,
after the response is out (a Reset is answered before the reset). The orders themselves are in
`simulators.orders`; a station that is told to refuse (`simulators.obedience`) does so here. All
payloads are in wire form.
"""

from datetime import datetime

from simulators.orders import (
    charging,
    configuration,
    files,
    reports,
    reserve,
    security,
    sessions,
    trigger,
)
from simulators.orders.answer import Answer, Handler, OrderError, Payload
from simulators.refusals import refusal
from simulators.station import Station

__all__ = ["Answer", "OrderError", "answer", "carry_out", "known_actions"]

_HANDLERS_16: dict[str, Handler] = {
    **charging.HANDLERS_16,
    **configuration.HANDLERS_16,
    **files.HANDLERS_16,
    **reserve.HANDLERS_16,
    **security.HANDLERS_16,
    **sessions.HANDLERS_16,
    **trigger.HANDLERS_16,
}
_HANDLERS_201: dict[str, Handler] = {
    **charging.HANDLERS_201,
    **configuration.HANDLERS_201,
    **files.HANDLERS_201,
    **reports.HANDLERS_201,
    **reserve.HANDLERS_201,
    **security.HANDLERS_201,
    **sessions.HANDLERS_201,
    **trigger.HANDLERS_201,
}


def answer(station: Station, action: str, payload: Payload, now: datetime) -> Answer:
    """The answer to a call that came at `now`.

    Raises: OrderError, to be answered by CALLERROR: for an action that the station does not know,
    more items than it takes, or a payload that cannot be read.
    """
    handler = (_HANDLERS_201 if station.is_201 else _HANDLERS_16).get(action)
    if handler is None:
        raise OrderError("NotImplemented", f"{action} is not known here")
    if station.config.obedience.of(action) == "refuse":
        return Answer(refusal(action, payload, is_201=station.is_201))
    try:
        return handler(station, payload, now)
    except (KeyError, TypeError, ValueError) as error:
        code = "FormatViolation" if station.is_201 else "FormationViolation"
        raise OrderError(code, f"{type(error).__name__}: {error}"[:255]) from error


def carry_out(station: Station, given: Answer, now: datetime) -> None:
    """What an order does once its answer is out; what it says may go even while on hold."""
    if given.effect is None:
        return
    station.called_for = True
    try:
        given.effect(now)
    finally:
        station.called_for = False


def known_actions(station: Station) -> list[str]:
    """The actions that the station answers."""
    return list(_HANDLERS_201 if station.is_201 else _HANDLERS_16)
