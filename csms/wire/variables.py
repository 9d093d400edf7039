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

from csms.domain.order_secrets import is_password_variable
from csms.store import variables as store
from csms.store.commands import Claimed

PARTS_MAX: Final = 999  # their number stands behind the message id, which has 36 characters


class _Splittable(NamedTuple):
    """An order with a list in it, and how its limit is called."""

    items: str  # member of the request
    results: tuple[str, ...]  # members of the answer, lists that are put together
    limit: tuple[str, str, str]  # component, variable, instance


_SPLITTABLE: Final = {
    "GetVariables": _Splittable(
        "getVariableData",
        ("getVariableResult",),
        ("DeviceDataCtrlr", "ItemsPerMessage", "GetVariables"),
    ),
    "SetVariables": _Splittable(
        "setVariableData",
        ("setVariableResult",),
        ("DeviceDataCtrlr", "ItemsPerMessage", "SetVariables"),
    ),
    "GetConfiguration": _Splittable(
        "key", ("configurationKey", "unknownKey"), ("", "GetConfigurationMaxKeys", "")
    ),
}


async def portions(connection: AsyncConnection, order: Claimed) -> list[str]:
    """The order's payload in as many parts as the station wants; nearly always one."""
    kind = _SPLITTABLE.get(order.action)
    if kind is None:
        return [order.payload]
    plain = msgspec.json.decode(order.payload)
    items = plain.get(kind.items)
    stated = await store.fetch_value(connection, order.station_key, *kind.limit)
    if not isinstance(items, list) or stated is None or not stated.strip().isdigit():
        return [order.payload]
    size = max(1, int(stated), -(-len(items) // PARTS_MAX))
    if len(items) <= size:
        return [order.payload]
    return [
        msgspec.json.encode(plain | {kind.items: items[at : at + size]}).decode()
        for at in range(0, len(items), size)
    ]


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
        if key and key.lower() != "authorizationkey":
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
    if not component.get("name") or not variable.get("name") or is_password_variable(item):
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
