"""No secret of an order is kept or shown."""

import json
from typing import Any

import pytest

from csms.domain.order_secrets import masked

PASSWORD = {
    "component": {"name": "SecurityCtrlr"},
    "variable": {"name": "BasicAuthPassword"},
    "attributeValue": "SECRET",
}
OTHER = {"component": {"name": "A"}, "variable": {"name": "B"}, "attributeValue": "plain"}


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("ChangeConfiguration", {"key": "authorizationKEY", "value": "SECRET"}),
        ("SetVariables", {"setVariableData": [PASSWORD, OTHER, PASSWORD]}),
        (
            "SetNetworkProfile",
            {
                "configurationSlot": 1,
                "connectionData": {
                    "apn": {"apn": "plain", "apnPassword": "SECRET", "simPin": 4_321},
                    "vpn": {"user": "plain", "password": "SECRET", "key": "SECRET"},
                },
            },
        ),
    ],
)
def test_every_secret_is_masked(action: str, payload: dict[str, Any]) -> None:
    kept = masked(action, json.dumps(payload))
    assert "SECRET" not in kept
    assert "4321" not in kept
    assert kept.count("plain") == json.dumps(payload).count("plain")


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "300"}),
        ("SetVariables", {"setVariableData": [OTHER]}),
        ("SetNetworkProfile", {"configurationSlot": 1, "connectionData": {"ocppCsmsUrl": "wss:"}}),
        ("Reset", {"type": "Hard"}),
    ],
)
def test_order_without_a_secret_is_the_very_text(action: str, payload: dict[str, Any]) -> None:
    text = json.dumps(payload)
    assert masked(action, text) is text
