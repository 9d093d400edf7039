"""What an order, and a station's answer to it, change on our side.

`prepare` runs before an order is sent, `apply` in the transaction that writes its answer, also when
that comes late: what a station has accepted is true of it from then on. An effect that fails leaves
the answer written and is told in the log: our bookkeeping must not lose what the station said.

A password that a station is told to use is valid beside the one it had from before the order is
sent: if the answer never comes, nobody knows which of the two it will use. It is dropped when the
station refuses it, and takes the other's place once the station has come in with it (field case
35). Until that is known, no third one is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg import AsyncConnection

from csms import passwords
from csms.domain.order_secrets import is_password_variable, is_secret, masked, new_password
from csms.domain.session import Flag
from csms.store import security as store
from csms.store.commands import Claimed, mask_payload
from csms.store.lost import flag_events_lost
from csms.store.variables import write_variables as store_variables
from csms.wire import ocpp16, ocpp201, variables
from csms.wire.context import bounded_id
from csms.wire.orders import plain_json

_TAKEN: Final = frozenset({"Accepted", "RebootRequired"})


class Answered(NamedTuple):
    """An order and the station's answer to it, both as JSON values; response None: an error."""

    station_key: int
    station_id: str
    protocol: str
    command_id: int
    action: str
    request: Mapping[str, Any]
    response: Mapping[str, Any] | None
    now: datetime


class NotNow(Exception):
    """An order that must not be sent now, with the reason for people."""


Effect = Callable[[AsyncConnection, Answered], Awaitable[None]]


async def prepare(connection: AsyncConnection, order: Claimed, now: datetime) -> None:
    """Do what must be done before the order is sent. Its password, if it has one, is from now on
    kept as a hash only.

    Raises: NotNow when the order must not be sent.
    """
    without = masked(order.action, order.payload)
    if without == order.payload:
        return
    await mask_payload(connection, order.id, without)
    found = new_password(order.action, plain_json(order.payload))
    if found is None:
        return
    hashed = await asyncio.to_thread(passwords.hash_told, found.value)
    if not await store.write_next_password(connection, order.station_key, hashed, now):
        raise NotNow(
            "Which of its last two passwords the station uses is not known yet. Reset it; order "
            "another one when it has been connected again for a minute."
        )


async def apply(connection: AsyncConnection, answered: Answered) -> None:
    """Do what follows from an answer. Raises: whatever the effect does."""
    effect = EFFECTS.get((answered.protocol, answered.action))
    if effect is not None:
        await effect(connection, answered)


def _is_taken(word: Any) -> bool:
    return isinstance(word, str) and word in _TAKEN


async def _configuration_changed(connection: AsyncConnection, answered: Answered) -> None:
    """ChangeConfiguration of 1.6."""
    key = str(answered.request.get("key", "")).lower()
    taken = _is_taken((answered.response or {}).get("status"))
    if key == "authorizationkey" and not taken:
        await store.drop_next_password(connection, answered.station_key)
    if taken and not is_secret(key):
        row = variables.key_row(str(answered.request.get("key", "")), answered.request.get("value"))
        await store_variables(connection, answered.station_key, [row], answered.now)
    if key == "securityprofile" and taken:
        value = str(answered.request.get("value", "")).strip()
        if value in ("0", "1", "2", "3"):
            await store.write_next_profile(connection, answered.station_key, int(value))


async def _variables_set(connection: AsyncConnection, answered: Answered) -> None:
    """SetVariables of 2.0.1: each item has its own status."""
    rows = variables.set_rows(answered.request, (answered.response or {}).get("setVariableResult"))
    if rows:
        await store_variables(connection, answered.station_key, rows, answered.now)
    if new_password(answered.action, answered.request) is None:
        return
    results = (answered.response or {}).get("setVariableResult")
    results = results if isinstance(results, list) else []
    words = [r.get("attributeStatus") for r in results if is_password_variable(r)]
    if not any(map(_is_taken, words)):
        await store.drop_next_password(connection, answered.station_key)


async def _variables_told(connection: AsyncConnection, answered: Answered) -> None:
    """GetVariables of 2.0.1."""
    rows = variables.variable_rows((answered.response or {}).get("getVariableResult"))
    if rows:
        await store_variables(connection, answered.station_key, rows, answered.now)


async def _configuration_told(connection: AsyncConnection, answered: Answered) -> None:
    """GetConfiguration of 1.6."""
    rows = variables.key_rows((answered.response or {}).get("configurationKey"))
    if rows:
        await store_variables(connection, answered.station_key, rows, answered.now)


async def _network_set(connection: AsyncConnection, answered: Answered) -> None:
    """SetNetworkProfile of 2.0.1: the station will come in with that profile, once it is told to
    use the slot."""
    if (answered.response or {}).get("status") == "Accepted":
        profile = answered.request.get("connectionData", {}).get("securityProfile")
        if profile in (1, 2, 3):
            await store.write_next_profile(connection, answered.station_key, profile)


async def _rest_told(connection: AsyncConnection, answered: Answered) -> None:
    """GetTransactionStatus of 2.0.1: without messages in its queue, what is missing stays so."""
    transaction_id = answered.request.get("transactionId")
    if transaction_id and (answered.response or {}).get("messagesInQueue") is False:
        await flag_events_lost(
            connection,
            answered.station_key,
            bounded_id(str(transaction_id)),
            Flag.EVENTS_LOST,
            answered.now,
        )


#: by (protocol, action); no entry: the answer changes nothing here
EFFECTS: Final[dict[tuple[str, str], Effect]] = {
    (ocpp16.PROTOCOL, "ChangeConfiguration"): _configuration_changed,
    (ocpp16.PROTOCOL, "GetConfiguration"): _configuration_told,
    (ocpp201.PROTOCOL, "GetTransactionStatus"): _rest_told,
    (ocpp201.PROTOCOL, "GetVariables"): _variables_told,
    (ocpp201.PROTOCOL, "SetVariables"): _variables_set,
    (ocpp201.PROTOCOL, "SetNetworkProfile"): _network_set,
}
