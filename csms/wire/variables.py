"""A station's configuration in the words of the wire: what it told, and orders in the portions
that it takes.

2.0.1 stations say how many items a message may hold (DeviceDataCtrlr.ItemsPerMessage, an instance
for each request), those of 1.6 how many keys may be asked for (GetConfigurationMaxKeys). A longer
order is sent in several calls, one after the other, and has one answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from psycopg import AsyncConnection

from csms.domain.order_secrets import is_secret
from csms.store import variables as store
from csms.store.commands import Claimed
from csms.wire import frames

PARTS_MAX: Final = 999  # their number stands behind the message id, which has 36 characters


class _Splittable(NamedTuple):
    """An order with a list in it, and how its limits are called."""

    items: str  # member of the request
    results: tuple[str, ...]  # members of the answer, lists that are put together
    component: str
    instance: str
    items_max: str  # variable: so many items in a message
    bytes_max: str | None = None  # variable: so many bytes in a message


_SPLITTABLE: Final = {
    "GetVariables": _Splittable(
        "getVariableData",
        ("getVariableResult",),
        "DeviceDataCtrlr",
        "GetVariables",
        "ItemsPerMessage",
        "BytesPerMessage",
    ),
    "SetVariables": _Splittable(
        "setVariableData",
        ("setVariableResult",),
        "DeviceDataCtrlr",
        "SetVariables",
        "ItemsPerMessage",
        "BytesPerMessage",
    ),
    "GetConfiguration": _Splittable(
        "key", ("configurationKey", "unknownKey"), "", "", "GetConfigurationMaxKeys"
    ),
}


async def portions(connection: AsyncConnection, order: Claimed) -> list[str]:
    """The order's payload in as many parts as the station wants; nearly always one."""
    kind = _SPLITTABLE.get(order.action)
    if kind is None:
        return [order.payload]
    plain = msgspec.json.decode(order.payload)
    items = plain.get(kind.items)
    if not isinstance(items, list) or len(items) < 2:
        return [order.payload]
    stated = await store.fetch_values(connection, order.station_key, kind.component, kind.instance)
    lists = list_portions(
        [msgspec.json.encode(item) for item in items],
        items_max=stated_limit(stated.get(kind.items_max)),
        bytes_max=stated_limit(stated.get(kind.bytes_max)) if kind.bytes_max else None,
        around_bytes=_bytes_around(order, plain | {kind.items: []}),
    )
    if len(lists) == 1:
        return [order.payload]
    return [
        msgspec.json.encode(plain | {kind.items: [msgspec.Raw(item) for item in part]}).decode()
        for part in lists
    ]


def list_portions(
    items: Sequence[bytes], *, items_max: int | None, bytes_max: int | None, around_bytes: int
) -> list[list[bytes]]:
    """The items, in their order, in messages of at most so many items and bytes.

    `around_bytes` is what a message without items takes. An item that is too long even alone goes
    alone: the station has to say so itself.
    """
    items_max = max(1, items_max or len(items), -(-len(items) // PARTS_MAX))
    parts: list[list[bytes]] = []
    taken_bytes = 0
    for number, item in enumerate(items):
        item_bytes = len(item) + 1  # and its comma
        full = not parts or len(parts[-1]) >= items_max
        too_long = bytes_max is not None and taken_bytes + item_bytes > bytes_max
        # Numbers must be left for what follows, however long.
        if full or (too_long and (PARTS_MAX - len(parts)) * items_max >= len(items) - number):
            parts.append([])
            taken_bytes = around_bytes
        parts[-1].append(item)
        taken_bytes += item_bytes
    return parts


def stated_limit(stated: str | None) -> int | None:
    """A limit as stated; None where it is no number that limits anything."""
    text = (stated or "").strip()
    return int(text) if text.isdecimal() and len(text) < 10 and int(text) > 0 else None


def _bytes_around(order: Claimed, empty: Mapping[str, Any]) -> int:
    longest_id = f"{order.message_id}-{PARTS_MAX}"
    payload = msgspec.json.encode(empty).decode()
    return len(frames.call_text(longest_id, order.action, payload).encode())


def together(action: str, answers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The answers to the parts of an order as one."""
    if len(answers) == 1:
        return answers[0]
    lists = _SPLITTABLE[action].results
    joined: dict[str, Any] = {}
    for answer in answers:
        for name, value in answer.items():
            if name in lists and isinstance(value, list):
                joined[name] = joined.get(name, []) + value
            else:
                joined[name] = value
    return joined


# --- What stations tell ---------------------------------------------------------------------------


def report_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values in a NotifyReport."""
    rows = []
    for item in _objects(content.get("reportData")):
        for attribute in _objects(item.get("variableAttribute")):
            row = _row(item, attribute.get("type"), attribute.get("value"))
            if row is not None:
                rows.append(row | {"mutability": attribute.get("mutability")})
    return rows


def variable_rows(results: Any) -> list[dict[str, Any]]:
    """The values in the results of GetVariables."""
    found = (
        _row(item, item.get("attributeType"), item.get("attributeValue"))
        for item in _objects(results)
        if item.get("attributeStatus") == "Accepted"
    )
    return [row for row in found if row is not None]


def set_rows(request: Mapping[str, Any], results: Any) -> list[dict[str, Any]]:
    """The values that a station took by SetVariables: results name variables, not values."""
    taken = [
        (item.get("component"), item.get("variable"), item.get("attributeType", "Actual"))
        for item in _objects(results)
        if item.get("attributeStatus") == "Accepted"
    ]
    found = (
        _row(item, item.get("attributeType"), item.get("attributeValue"))
        for item in _objects(request.get("setVariableData"))
        if (item.get("component"), item.get("variable"), item.get("attributeType", "Actual"))
        in taken
    )
    return [row for row in found if row is not None]


def key_rows(keys: Any) -> list[dict[str, Any]]:
    """The values in the answer to GetConfiguration of 1.6."""
    rows = []
    for item in _objects(keys):
        key = str(item.get("key", ""))
        if key and not is_secret(key):
            mutability = "ReadOnly" if item.get("readonly") else "ReadWrite"
            rows.append(key_row(key, item.get("value")) | {"mutability": mutability})
    return rows


def key_row(key: str, value: Any) -> dict[str, Any]:
    """A key of 1.6 as a variable of no component."""
    return {
        "component": "",
        "component_instance": "",
        "evse_id": 0,
        "connector_id": 0,
        "variable": key[:200],
        "variable_instance": "",
        "attribute": "Actual",
        "value": None if value is None else str(value),
        "mutability": None,
    }


def _row(item: Mapping[str, Any], attribute: Any, value: Any) -> dict[str, Any] | None:
    """A value of the device model; None for what names no variable, and for a password."""
    component, variable = item.get("component"), item.get("variable")
    if not isinstance(component, dict) or not isinstance(variable, dict):
        return None
    if not component.get("name") or not variable.get("name") or is_secret(variable["name"]):
        return None
    evse = component.get("evse")
    evse = evse if isinstance(evse, dict) else {}
    return {
        "component": str(component["name"])[:200],
        "component_instance": str(component.get("instance") or "")[:200],
        "evse_id": _number(evse.get("id")),
        "connector_id": _number(evse.get("connectorId")),
        "variable": str(variable["name"])[:200],
        "variable_instance": str(variable.get("instance") or "")[:200],
        "attribute": str(attribute or "Actual")[:20],
        "value": None if value is None else str(value),
        "mutability": None,
    }


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 10_000 else 0


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
