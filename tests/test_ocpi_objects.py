"""Objects of OCPI 2.2.1: the official examples parse and say the same again; ours are as strict."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from reporting.ocpi import objects
from reporting.ocpi.kinds import Shape
from reporting.ocpi.objects import (
    Cdr,
    Connector,
    Coordinates,
    Credentials,
    DisplayText,
    EnergyMix,
    Envelope,
    Evse,
    Hours,
    Location,
    Price,
    Session,
    Tariff,
    Token,
    Version,
    VersionDetails,
    patch_of,
    same_text,
)

EXAMPLES: Final = Path(__file__).parents[2] / "shared" / "data" / "ocpi-2.2.1-examples"
AT: Final = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)

#: what an example is, by the beginning of its name; the longest that fits holds
WHOLE: Final[dict[str, type[Shape]]] = {
    "cdr_example": Cdr,
    "credentials": Credentials,
    "location_example": Location,
    "location_hours": Hours,
    "location_put_example_add_evse": Evse,
    "session_example": Session,
    "tariff_": Tariff,
    "tariffrestriction_example": Tariff,
    "token_example": Token,
    "token_put_example": Token,
    "type_displaytext": DisplayText,
    "version_details": VersionDetails,
}
#: what a PATCH is of
PATCHES: Final[dict[str, type[Shape]]] = {
    "location_patch_example_location": Location,
    "location_patch_example_remove_evse": Evse,
    "location_patch_example_status": Evse,
    "location_patch_example_tariff": Connector,
    "session_patch_example_charging_period": Session,
    "session_patch_example_total_cost": Session,
    "token_patch_example": Token,
}
#: objects inside others
INSIDE: Final[dict[str, tuple[str, type[Shape]]]] = {
    "location_energymix": ("energy_mix", EnergyMix),
    "location_regularhours": ("opening_times", Hours),
}
#: where an example is not what the text of the specification says: what it lacks that is required
DEVIATIONS: Final[dict[str, dict[str, Any]]] = {
    "tariff_put_example": {"last_updated": "2026-01-01T00:00:00Z"},
    "location_put_example_add_evse": {"physical_reference": "3"},  # a number there
}
CONNECTOR_LACKS: Final = {
    "power_type": "AC_3_PHASE",
    "max_voltage": 230,
    "max_amperage": 32,
    "last_updated": "2026-01-01T00:00:00Z",
}
needs_examples = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="needs the official examples")


def examples() -> list[str]:
    return sorted(path.stem for path in EXAMPLES.glob("*.json")) or ["none"]


def load(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


def kind_of(name: str, kinds: dict[str, Any]) -> Any:
    fitting = [begin for begin in kinds if name.startswith(begin)]
    return kinds[max(fitting, key=len)] if fitting else None


def plain(value: Any) -> Any:
    """Times as one form, so that what is compared is what they mean."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str) and len(value) >= 19 and value[4] == "-" and value[10] == "T":
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return value


def same(said: Any, shown: Any, path: str = "") -> list[str]:
    """Where what we say again is not what was said; what we do not know may be missing."""
    if isinstance(said, dict) and isinstance(shown, dict):
        wrong = [f"{path}.{name} is new" for name in shown.keys() - said.keys()]
        for name in said.keys() & shown.keys():
            wrong += same(said[name], shown[name], f"{path}.{name}")
        return wrong
    if isinstance(said, list) and isinstance(shown, list) and len(said) == len(shown):
        return [
            fault
            for place, (one, other) in enumerate(zip(said, shown, strict=True))
            for fault in same(one, other, f"{path}[{place}]")
        ]
    return [] if said == shown else [f"{path}: {said!r} became {shown!r}"]


@needs_examples
@pytest.mark.parametrize("name", examples())
def test_official_examples_parse_and_say_the_same_again(name: str) -> None:
    content = load(name)
    if name in DEVIATIONS:
        with pytest.raises(ValidationError, match=r"Field required"):
            kind_of(name, WHOLE).model_validate(content)
        content |= DEVIATIONS[name]
        for connector in content.get("connectors", ()):
            connector |= CONNECTOR_LACKS
    patched = PATCHES.get(name)
    if patched is not None:
        fields = patch_of(patched, content)
        assert set(fields) == set(content)
        return
    shape, value = kind_of(name, WHOLE), content
    inside = kind_of(name, INSIDE)
    if inside is not None:
        value, shape = content[inside[0]], inside[1]
    elif name.startswith("transport_and_format"):
        value, shape = envelope_of(name, content)
    elif isinstance(content, list):
        shown = [Version.model_validate(each).wire() for each in content]
        assert same(plain(content), plain(shown)) == []
        return
    assert shape is not None, f"{name} is an example of what?"
    shown = shape.model_validate(value).wire()
    assert same(plain(value), plain(shown)) == []
    assert shape.model_validate(shown).wire() == shown
    assert None not in flat(shown)


def envelope_of(name: str, content: dict[str, Any]) -> tuple[Any, type[Shape]]:
    """The envelope with what is in it."""
    if name.endswith("version_details_example"):
        return content, Envelope[VersionDetails]
    if name.endswith("version_info_example"):
        return content, Envelope[list[Version]]
    if "list" in name:
        return content, Envelope[list[Any]]
    return content, Envelope[Any]


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [each for inner in value.values() for each in flat(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in flat(inner)]
    return [value]


def a_connector(**values: Any) -> Connector:
    given = {
        "id": "1",
        "standard": "IEC_62196_T2",
        "format": "SOCKET",
        "power_type": "AC_3_PHASE",
        "max_voltage": 230,
        "max_amperage": 32,
        "last_updated": AT,
    }
    return Connector.model_validate(given | values)


def test_what_we_send_has_no_null_and_times_in_utc() -> None:
    paris = timezone(timedelta(hours=1))
    shown = a_connector(last_updated=datetime(2026, 11, 26, 13, 0, 0, tzinfo=paris)).wire()
    assert shown["last_updated"] == "2026-11-26T12:00:00Z"
    assert "tariff_ids" not in shown
    assert (
        a_connector(last_updated=datetime(2026, 11, 26, 12, 0, 0, 5_000, tzinfo=UTC))
        .wire()["last_updated"]
        .endswith("12:00:00.005Z")
    )


def test_what_we_receive_may_have_more_and_no_zone() -> None:
    found = a_connector(last_updated="2015-06-29T20:39:09", strange={"a": 1})
    assert found.last_updated == datetime(2015, 6, 29, 20, 39, 9, tzinfo=UTC)
    assert "strange" not in found.wire()


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "x" * 37},
        {"format": "HOLE"},
        {"max_voltage": -1},
        {"tariff_ids": "12"},
        {"last_updated": "yesterday"},
        {"terms_and_conditions": "javascript:alert(1)"},
    ],
)
def test_what_is_not_as_the_specification_says_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_connector(**wrong)


@pytest.mark.parametrize("text", ["51.047599", "-4.12345", "178.1234567"])
def test_coordinates_are_text(text: str) -> None:
    assert Coordinates(latitude=text, longitude=text).wire() == {
        "latitude": text,
        "longitude": text,
    }
    for wrong in ("51", "51,04", "51.0475990000"):
        with pytest.raises(ValidationError):
            Coordinates(latitude=wrong, longitude=text)


@given(st.decimals(0, 10**9, places=4))
def test_numbers_keep_their_digits(value: Decimal) -> None:
    text = json.dumps(Price(excl_vat=value).wire())
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal)["excl_vat"] == value
    assert Price.model_validate_json(text).excl_vat == value


def test_a_float_is_taken_by_its_digits() -> None:
    assert Price.model_validate({"excl_vat": 0.1}).excl_vat == Decimal("0.1")
    with pytest.raises(ValidationError):
        Price.model_validate({"excl_vat": float("nan")})


def test_a_patch_has_its_time_and_right_fields() -> None:
    fields = patch_of(Evse, {"status": "CHARGING", "last_updated": "2026-11-26T12:00:00Z", "x": 1})
    assert fields == {"status": "CHARGING", "last_updated": AT}
    for wrong in (
        {"status": "CHARGING"},
        {"status": "BUSY", "last_updated": "2026-11-26T12:00:00Z"},
        [],
    ):
        with pytest.raises(ValueError, match=r"PATCH|literal_error"):
            patch_of(Evse, wrong)
    with pytest.raises(ValidationError):
        patch_of(Evse, {"connectors": [], "last_updated": "2026-11-26T12:00:00Z"})


def test_an_envelope_is_as_the_specification_says() -> None:
    told = Envelope[Connector](data=a_connector(), status_code=1000, timestamp=AT).wire()
    assert list(told) == ["data", "status_code", "timestamp"]
    assert told["data"]["id"] == "1"
    assert Envelope[Connector](status_code=2001, timestamp=AT).wire() == {
        "status_code": 2001,
        "timestamp": "2026-11-26T12:00:00Z",
    }


def test_texts_are_compared_without_case() -> None:
    assert same_text("FR*ABC*E1", "fr*abc*e1")
    assert not same_text("1", "2")


def test_every_shape_can_be_described() -> None:
    shapes = [each for each in vars(objects).values() if isinstance(each, type)]
    for each in shapes:
        if issubclass(each, Shape) and each not in (Shape, Envelope):
            assert TypeAdapter(each).json_schema()["type"] == "object"
