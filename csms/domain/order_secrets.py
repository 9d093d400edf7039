"""Secrets in orders and their answers: which they are, and the same message without them.

What is shown of an order, and what is kept once it has been sent or is over, never holds one; nor
does what is kept and shown of a station's answer.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

MASK: Final = "***"
#: orders that may hold one
BEARERS: Final = ("ChangeConfiguration", "SetNetworkProfile", "SetVariables")
_NETWORK_SECRETS: Final = {"apn": ("apnPassword", "simPin"), "vpn": ("password", "key")}


class NewPassword(NamedTuple):
    """A password that an order sets, and where in its payload it stands."""

    value: str
    holder: dict[str, Any]
    member: str


def new_password(action: str, payload: Any) -> NewPassword | None:
    """The station's basic-auth password that an order sets; None: it sets none."""
    if not isinstance(payload, dict):
        return None
    if (
        action == "ChangeConfiguration"
        and str(payload.get("key", "")).lower() == "authorizationkey"
    ):
        return NewPassword(str(payload.get("value", "")), payload, "value")
    if action == "SetVariables":
        for item in payload.get("setVariableData", ()):
            if is_password_variable(item):
                return NewPassword(str(item.get("attributeValue", "")), item, "attributeValue")
    return None


def is_password_variable(item: Any) -> bool:
    """Whether an item of SetVariables, or of its answer, is about the password."""
    if not isinstance(item, dict):
        return False
    component, variable = item.get("component"), item.get("variable")
    names = [
        part.get("name", "") if isinstance(part, dict) else "" for part in (component, variable)
    ]
    return [str(name).lower() for name in names] == ["securityctrlr", "basicauthpassword"]


def masked(action: str, payload: str) -> str:
    """The payload's JSON text without any secret; the very text where there is none."""
    if action not in BEARERS:
        return payload
    plain = json.loads(payload)
    places = list(_secrets(action, plain))
    for holder, member in places:
        holder[member] = MASK
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")) if places else payload


def _secrets(action: str, payload: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Where secrets stand in an order: (object, member)."""
    if not isinstance(payload, dict):
        return
    if action == "SetVariables":
        for item in payload.get("setVariableData", ()):
            if is_password_variable(item):
                yield item, "attributeValue"
    elif action == "SetNetworkProfile":
        connection = payload.get("connectionData")
        for group, members in _NETWORK_SECRETS.items():
            holder = connection.get(group) if isinstance(connection, dict) else None
            if isinstance(holder, dict):
                yield from ((holder, member) for member in members if member in holder)
    else:
        found = new_password(action, payload)
        if found is not None:
            yield found.holder, found.member


def is_secret(name: Any) -> bool:
    """Whether a key (1.6) or variable (2.0.1) of that name holds a password: the station's own, or
    one that its maker has added."""
    words = str(name).lower()
    return "authorizationkey" in words or "password" in words


def masked_answer(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """A station's answer without the passwords that some tell of themselves; the very same where
    there is none."""
    masked_lists = {}
    for member, name_of, value in (
        ("configurationKey", _key_name, "value"),
        ("getVariableResult", _variable_name, "attributeValue"),
    ):
        items = response.get(member)
        if not isinstance(items, list):
            continue
        without = [
            item | {value: MASK}
            if isinstance(item, dict) and item.get(value) and is_secret(name_of(item))
            else item
            for item in items
        ]
        if without != items:
            masked_lists[member] = without
    return {**response, **masked_lists} if masked_lists else response


def _key_name(item: Mapping[str, Any]) -> Any:
    return item.get("key")


def _variable_name(item: Mapping[str, Any]) -> Any:
    variable = item.get("variable")
    return variable.get("name") if isinstance(variable, dict) else None
