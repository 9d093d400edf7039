"""Payloads: strictly by their schema first, leniently where that fails."""

import copy
import json
import random
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jsonschema
import pytest

from csms.wire import ocpp16, ocpp201, schema
from csms.wire.schema import Deviation, PayloadError, read

ACTIONS = [(ocpp16.PROTOCOL, action) for action in ocpp16.REQUESTS] + [
    (ocpp201.PROTOCOL, action) for action in ocpp201.REQUESTS
]
EXAMPLES = 30
T2 = "ocpp2.0.1"


def read_text(protocol: str, action: str, text: str) -> tuple[Any, list[Deviation]]:
    return read(schema.shape(protocol, action), text.encode())


def deviations_of(protocol: str, action: str, payload: object) -> set[tuple[str, str]]:
    _, deviations = read_text(protocol, action, json.dumps(payload))
    return {(deviation.kind, deviation.subject) for deviation in deviations}


# --- The schema is the judge --------------------------------------------------------------------


@cache
def judge(protocol: str, action: str) -> Any:
    """The JSON schema's own verdict, times by RFC 3339."""
    formats = jsonschema.FormatChecker(())
    formats.checks("date-time", raises=ValueError)(_is_time)
    document = schema.load_schema(protocol, action)
    return jsonschema.validators.validator_for(document)(document, format_checker=formats)


def _is_time(value: object) -> bool:
    if isinstance(value, str):
        return datetime.fromisoformat(value).tzinfo is not None
    return True


class Maker:
    """Makes payloads that a schema accepts, and spoils them."""

    def __init__(self, document: dict[str, Any], chance: random.Random) -> None:
        self.document = document
        self.chance = chance

    def make(self, node: dict[str, Any], depth: int = 0) -> Any:
        if "$ref" in node:
            node = self.document["definitions"][node["$ref"].rsplit("/", 1)[-1]]
        match node.get("type"):
            case "object":
                required = node.get("required", ())
                return {
                    name: self.make(child, depth + 1)
                    for name, child in node.get("properties", {}).items()
                    if name in required or (depth < 6 and self.chance.random() < 0.4)
                }
            case "array":
                low = max(node.get("minItems", 0), 1)
                high = min(node.get("maxItems", 3), 3)
                return [
                    self.make(node["items"], depth + 1)
                    for _ in range(self.chance.randint(low, max(low, high)))
                ]
            case "string":
                return self._text(node)
            case "integer":
                low, high = node.get("minimum", -5), node.get("maximum", 10**6)
                return self.chance.randint(int(low), int(high))
            case "number":
                low = node.get("minimum", -1000)
                return self.chance.choice([low, round(self.chance.uniform(low, 100), 3)])
            case "boolean":
                return self.chance.random() < 0.5
        return self.chance.choice(["anything", 1, {"a": [1, None]}])

    def _text(self, node: dict[str, Any]) -> str:
        if "enum" in node:
            return str(self.chance.choice(node["enum"]))
        if node.get("format") == "date-time":
            return self.chance.choice(["2026-11-22T12:00:00Z", "2026-11-22T13:00:00.123+01:00"])
        length = self.chance.choice([0, 1, 5, node.get("maxLength", 40)])
        return "".join(self.chance.choice('aZ9 é"\\') for _ in range(length))

    def spoil(self, payload: Any) -> Any:
        """One thing changed somewhere, mostly for the worse."""
        payload = copy.deepcopy(payload)
        places = list(_places(payload))
        if not places:
            return {"surplus": 1}
        holder, key = self.chance.choice(places)
        match self.chance.randint(0, 5):
            case 0:
                del holder[key]
            case 1:
                holder[key] = None
            case 2:
                holder[key] = self.chance.choice(["", "x" * 9000, 17, -1, 2.5, True, [], {}, [[]]])
            case 3 if isinstance(holder, dict):
                holder["surplus"] = 1
            case 4:
                holder[key] = str(holder[key])
            case _:
                holder[key] = [holder[key]]
        return payload


def _places(value: Any) -> Any:
    """Every (container, key) within a payload."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in list(items):
        yield value, key
        if isinstance(child, dict | list):
            yield from _places(child)


@pytest.mark.parametrize(("protocol", "action"), ACTIONS, ids=lambda part: part)
def test_the_strict_reading_takes_exactly_what_the_schema_takes(protocol: str, action: str) -> None:
    chance = random.Random(f"{protocol} {action}")
    maker = Maker(schema.load_schema(protocol, action), chance)
    for _ in range(EXAMPLES):
        good = maker.make(maker.document)
        for payload in (good, maker.spoil(good), maker.spoil(maker.spoil(good))):
            is_valid = judge(protocol, action).is_valid(payload)
            try:
                message, deviations = read_text(protocol, action, json.dumps(payload))
            except PayloadError:
                deviations = [Deviation("refused", "", "")]
            else:
                assert type(message).__name__ in (action, f"{action}Loose")
            assert is_valid == (not deviations), (payload, deviations)


# --- What is taken all the same -----------------------------------------------------------------


BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}
START = {"connectorId": 1, "idTag": "A", "meterStart": 5, "timestamp": "2026-11-22T12:00:00Z"}


@pytest.mark.parametrize(
    ("action", "payload", "kind", "subject"),
    [
        ("BootNotification", BOOT | {"chargePointModel": "M" * 21}, "too_long", "chargePointModel"),
        ("BootNotification", BOOT | {"new": 1}, "unknown_field", "new"),
        ("BootNotification", BOOT | {"iccid": None}, "null_field", "iccid"),
        ("BootNotification", {"chargePointVendor": "V"}, "missing_field", "chargePointModel"),
        ("BootNotification", BOOT | {"imsi": 208}, "number_for_string", "imsi"),
        ("BootNotification", BOOT | {"imsi": [208]}, "json_for_string", "imsi"),
        ("StartTransaction", START | {"connectorId": "1"}, "string_for_number", "connectorId"),
        ("StartTransaction", START | {"meterStart": 5.5}, "fraction_for_integer", "meterStart"),
        ("StartTransaction", START | {"timestamp": "now"}, "time_unreadable", "timestamp"),
        (
            "StartTransaction",
            START | {"timestamp": "2026-11-22T12:00:00"},
            "time_without_zone",
            "timestamp",
        ),
        ("StartTransaction", START | {"timestamp": 1795348800}, "time_as_number", "timestamp"),
        ("FirmwareStatusNotification", {"status": "Rebooting"}, "unknown_value", "status"),
        ("MeterValues", {"connectorId": 1, "meterValue": {}}, "object_for_list", "meterValue"),
    ],
)
def test_departures_are_taken_and_put_on_record(
    action: str, payload: dict[str, Any], kind: str, subject: str
) -> None:
    assert (kind, f"{action}.{subject}") in deviations_of("ocpp1.6", action, payload)


def test_what_is_softened_has_the_value_that_was_meant() -> None:
    text = json.dumps(START | {"connectorId": "2", "meterStart": "1,5", "idTag": 4711})
    message, _ = read_text("ocpp1.6", "StartTransaction", text)
    assert (message.connectorId, message.meterStart, message.idTag) == (2, 1.5, "4711")
    assert message.timestamp == datetime(2026, 11, 22, 12, tzinfo=UTC)
    message, _ = read_text("ocpp1.6", "FirmwareStatusNotification", '{"status":"installed"}')
    assert message.status == "Installed"
    message, _ = read_text("ocpp1.6", "Heartbeat", "null")
    assert type(message).__name__ == "HeartbeatLoose"


def test_a_boolean_is_read_from_its_words() -> None:
    event = {
        "eventType": "Started",
        "timestamp": "2026-11-22T12:00:00Z",
        "triggerReason": "Authorized",
        "seqNo": 0,
        "transactionInfo": [{"transactionId": "T1"}],
        "offline": "True",
    }
    message, deviations = read_text(T2, "TransactionEvent", json.dumps(event))
    assert message.offline is True
    assert message.transactionInfo.transactionId == "T1"
    assert {d.kind for d in deviations} == {"not_a_boolean", "list_for_object"}


@pytest.mark.parametrize(
    ("action", "text", "code"),
    [
        ("Heartbeat", "17", "FormatViolation"),
        ("Heartbeat", "[]", "FormatViolation"),
        ("Heartbeat", '"text"', "FormatViolation"),
        ("StartTransaction", '{"connectorId":{}}', "TypeConstraintViolation"),
        ("StartTransaction", '{"connectorId":true}', "TypeConstraintViolation"),
        ("StartTransaction", '{"connectorId":"one"}', "TypeConstraintViolation"),
        ("StartTransaction", '{"meterStart":"nan"}', "PropertyConstraintViolation"),
        ("StartTransaction", '{"meterStart":"1e16"}', "PropertyConstraintViolation"),
        ("StartTransaction", '{"meterStart":' + "9" * 400 + "}", "PropertyConstraintViolation"),
        ("MeterValues", '{"meterValue":[17]}', "TypeConstraintViolation"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_code(action: str, text: str, code: str) -> None:
    with pytest.raises(PayloadError) as caught:
        read_text("ocpp1.6", action, text)
    assert caught.value.code == code


@pytest.mark.parametrize("depth", [10, 100, 900, 5000])
def test_deep_nesting_is_taken_or_refused_but_no_crash(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    for protocol in ("ocpp1.6", T2):
        try:
            read_text(protocol, "DataTransfer", f'{{"vendorId":"V","data":{nested}}}')
            read_text(protocol, "DataTransfer", f'{{"vendorId":"V","surplus":{nested}}}')
        except PayloadError as error:
            assert error.code == "FormatViolation"


def test_samples_of_deviations_are_short() -> None:
    text = json.dumps(BOOT | {"chargePointModel": "M" * 5000})
    _, deviations = read_text("ocpp1.6", "BootNotification", text)
    assert [len(deviation.sample) for deviation in deviations] == [schema.SAMPLE_LENGTH_MAX]
