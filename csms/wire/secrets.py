"""Passwords in orders: which they are, and the same order without them.

What is kept of an order (journal, queue) and what is shown of it never holds one.
"""

from typing import Any, Final, NamedTuple

import msgspec

MASK: Final = "***"


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
    """The payload's JSON text without a password; the very text where there is none."""
    if action not in ("ChangeConfiguration", "SetVariables"):
        return payload
    plain = msgspec.json.decode(payload)
    found = new_password(action, plain)
    if found is None:
        return payload
    found.holder[found.member] = MASK
    return msgspec.json.encode(plain).decode()
