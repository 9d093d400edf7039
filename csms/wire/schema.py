"""Payloads: strict and fast first, lenient where that fails.

The JSON schemas that the `ocpp` package ships are the one source. From each a msgspec struct is
made at import: decoding by it validates types, enumerations, lengths and required fields in the
same pass. What it refuses is read again as plain JSON by `soften`, which follows the same schema,
takes what makes sense, puts every departure on record, and is then converted into the loose twin
of the struct. Readers of messages use either without knowing which.
"""

import functools
import importlib.resources
import json
import keyword
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from csms.domain.clock import parse_time

DEPTH_MAX: Final = 32  # of nested JSON in a payload read leniently
INTEGER_MAX: Final = 2**63 - 1
SAMPLE_LENGTH_MAX: Final = 100  # characters of a deviation's sample

JsonSchema = dict[str, Any]
ReadTime = Callable[[str], tuple[datetime | None, str | None]]

_FOLDERS: Final = {"ocpp1.6": "v16", "ocpp2.0.1": "v201"}


class Deviation(NamedTuple):
    """How a payload departs from its schema: what kind, where, and an example."""

    kind: str
    subject: str
    sample: str


class PayloadError(Exception):
    """A payload that makes no sense. `code` is OCPP 2.0.1's word; wire versions translate it."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class Shape(NamedTuple):
    """One request's schema with both its decoders."""

    action: str
    schema: JsonSchema
    strict: msgspec.json.Decoder[Any]
    loose: type[msgspec.Struct]


@functools.cache
def load_schema(protocol: str, action: str, *, response: bool = False) -> JsonSchema:
    """The JSON schema of a request (or response) as `ocpp` ships it.

    Raises: FileNotFoundError for an action that the version does not know.
    """
    folder = importlib.resources.files("ocpp") / _FOLDERS[protocol] / "schemas"
    if protocol == "ocpp1.6":
        name = f"{action}Response.json" if response else f"{action}.json"
    else:
        name = f"{action}Response.json" if response else f"{action}Request.json"
    schema: JsonSchema = json.loads((folder / name).read_text(encoding="utf-8-sig"))
    return schema


@functools.cache
def known_actions(protocol: str) -> frozenset[str]:
    """Every action of the version, whoever asks it."""
    folder = importlib.resources.files("ocpp") / _FOLDERS[protocol] / "schemas"
    return frozenset(
        file.name.removesuffix(".json").removesuffix("Request")
        for file in folder.iterdir()
        if file.name.endswith(".json") and not file.name.endswith("Response.json")
    )


@functools.cache
def shape(protocol: str, action: str) -> Shape:
    """Decoders of a request."""
    schema = load_schema(protocol, action)
    strict = _Maker(action, schema, loose=False).struct(schema, action)
    loose = _Maker(action, schema, loose=True).struct(schema, action + "Loose")
    return Shape(action, schema, msgspec.json.Decoder(strict), loose)


def read(
    shape: Shape, payload: bytes | msgspec.Raw, read_time: ReadTime = parse_time
) -> tuple[Any, list[Deviation]]:
    """The payload as a struct, and how it departs from the schema (empty: it does not).

    Raises: PayloadError when no sense can be made of it.
    """
    try:
        return shape.strict.decode(payload), []
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        plain = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise PayloadError("FormatViolation", "the payload is not JSON") from None
    deviations: list[Deviation] = []
    if plain is None:
        plain = {}
        deviations.append(Deviation("null_payload", shape.action, "null"))
    if not isinstance(plain, dict):
        raise PayloadError("FormatViolation", "the payload is not a JSON object")
    softener = _Softener(shape.schema, read_time, deviations)
    try:
        softened = softener.value(shape.schema, plain, shape.action, 0)
        return msgspec.convert(softened, shape.loose, strict=False), deviations
    except RecursionError:
        raise PayloadError("FormatViolation", "the payload is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise PayloadError("TypeConstraintViolation", str(error)) from None


class _Maker:
    """Makes structs from one schema document."""

    def __init__(self, action: str, document: JsonSchema, *, loose: bool) -> None:
        self.document = document
        self.loose = loose
        self.made: dict[str, Any] = {}

    def struct(self, schema: JsonSchema, name: str) -> type[msgspec.Struct]:
        required = () if self.loose else schema.get("required", ())
        mandatory: list[Any] = []
        optional: list[Any] = []
        for field, child in schema.get("properties", {}).items():
            python_name = field + "_" if keyword.iskeyword(field) else field
            kind = self.type(child, f"{name}_{field}")
            if field in required:
                mandatory.append((python_name, kind))
            else:
                # null is no value in OCPP: the strict reading refuses it, the loose one drops it.
                optional.append((python_name, kind | None if self.loose else kind, None))
        return msgspec.defstruct(
            name,
            mandatory + optional,
            forbid_unknown_fields=not self.loose and schema.get("additionalProperties") is False,
            gc=False,
            rename={f + "_": f for f in schema.get("properties", {}) if keyword.iskeyword(f)},
        )

    def type(self, schema: JsonSchema, name: str) -> Any:
        if "$ref" in schema:
            reference = schema["$ref"].rsplit("/", 1)[-1]
            if reference not in self.made:
                self.made[reference] = self.type(self.document["definitions"][reference], reference)
            return self.made[reference]
        match schema.get("type"):
            case "object":
                return self.struct(schema, name) if "properties" in schema else dict[str, Any]
            case "array":
                item: Any = self.type(schema["items"], name + "_item")
                return self._bounded(
                    list[item], min_length=schema.get("minItems"), max_length=schema.get("maxItems")
                )
            case "string":
                return self._string(schema)
            case "integer":
                return int | float if self.loose else self._range(int, schema)
            case "number":
                return float if self.loose else self._range(float, schema)
            case "boolean":
                return bool
        return Any

    def _string(self, schema: JsonSchema) -> Any:
        if schema.get("format") == "date-time":
            return datetime if self.loose else Annotated[datetime, msgspec.Meta(tz=True)]
        if self.loose:
            return str
        if "enum" in schema:
            return Literal[tuple(schema["enum"])]
        return self._bounded(str, max_length=schema.get("maxLength"))

    def _range(self, kind: Any, schema: JsonSchema) -> Any:
        low, high = schema.get("minimum"), schema.get("maximum")
        if kind is int:  # JSON knows no limit, all that comes behind does
            low = -INTEGER_MAX if low is None else low
            high = INTEGER_MAX if high is None else high
        return self._bounded(
            kind,
            ge=None if low is None else kind(low),
            le=None if high is None else kind(high),
        )

    def _bounded(self, kind: Any, **bounds: Any) -> Any:
        given = {name: value for name, value in bounds.items() if value is not None}
        return Annotated[kind, msgspec.Meta(**given)] if given and not self.loose else kind


class _Softener:
    """The second reading of a payload that the schema refuses."""

    def __init__(
        self, document: JsonSchema, read_time: ReadTime, deviations: list[Deviation]
    ) -> None:
        self.document = document
        self.read_time = read_time
        self.deviations = deviations

    def note(self, kind: str, subject: str, value: object) -> None:
        sample = value if isinstance(value, str) else json.dumps(value, default=str)
        self.deviations.append(Deviation(kind, subject, sample[:SAMPLE_LENGTH_MAX]))

    def value(self, schema: JsonSchema, value: Any, path: str, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise PayloadError("FormatViolation", f"{path} is nested too deeply")
        if "$ref" in schema:
            schema = self.document["definitions"][schema["$ref"].rsplit("/", 1)[-1]]
        match schema.get("type"):
            case "object":
                return self._object(schema, value, path, depth)
            case "array":
                return self._array(schema, value, path, depth)
            case "string":
                return self._string(schema, value, path)
            case "integer" | "number":
                return self._number(schema, value, path)
            case "boolean":
                return self._boolean(value, path)
        return value

    def _object(self, schema: JsonSchema, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, list) and len(value) == 1:
            self.note("list_for_object", path, value)
            value = value[0]
        if not isinstance(value, dict):
            raise PayloadError("TypeConstraintViolation", f"{path} is not an object")
        properties = schema.get("properties")
        if properties is None:
            return value
        taken: dict[str, Any] = {}
        for name, item in value.items():
            if name not in properties:
                if schema.get("additionalProperties") is False:
                    self.note("unknown_field", f"{path}.{name[:50]}", item)
            elif item is None:
                self.note("null_field", f"{path}.{name}", "null")
            else:
                taken[name] = self.value(properties[name], item, f"{path}.{name}", depth + 1)
        for name in schema.get("required", ()):
            if taken.get(name) is None:
                self.note("missing_field", f"{path}.{name}", "")
        return taken

    def _array(self, schema: JsonSchema, value: Any, path: str, depth: int) -> Any:
        if not isinstance(value, list):  # Huawei sends meterValue as an object (field case 13)
            self.note("object_for_list", path, value)
            value = [value]
        if len(value) < schema.get("minItems", 0):
            self.note("empty_list", path, value)
        if len(value) > schema.get("maxItems", len(value)):
            self.note("long_list", path, len(value))
        if None in value:
            self.note("null_item", path, "null")
        items = schema["items"]
        return [self.value(items, item, path, depth + 1) for item in value if item is not None]

    def _string(self, schema: JsonSchema, value: Any, path: str) -> Any:
        if not isinstance(value, str):
            kind = "number_for_string" if isinstance(value, int | float) else "json_for_string"
            self.note(kind, path, value)
            value = json.dumps(value) if not isinstance(value, int | float) else repr(value)
        if schema.get("format") == "date-time":
            moment, deviation = self.read_time(value)
            if deviation is not None:
                self.note(deviation, path, value)
            return moment
        if len(value) > schema.get("maxLength", len(value)):
            self.note("too_long", path, value)
        options = schema.get("enum")
        if options is not None and value not in options:
            self.note("unknown_value", path, value)
            by_case = {option.lower(): option for option in options}
            return by_case.get(value.lower(), value)
        return value

    def _number(self, schema: JsonSchema, value: Any, path: str) -> Any:
        if isinstance(value, str):
            self.note("string_for_number", path, value)
            try:
                value = float(value.strip().replace(",", "."))
            except ValueError:
                raise PayloadError("TypeConstraintViolation", f"{path} is not a number") from None
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise PayloadError("TypeConstraintViolation", f"{path} is not a number")
        if value != value or abs(value) > 1e15:
            raise PayloadError("PropertyConstraintViolation", f"{path} is out of range")
        if schema["type"] == "integer" and isinstance(value, float):
            if not value.is_integer():
                self.note("fraction_for_integer", path, value)
                return value
            value = int(value)
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if not low <= value <= high:
            self.note("out_of_range", path, value)
        return value

    def _boolean(self, value: Any, path: str) -> bool:
        if isinstance(value, bool):
            return value
        self.note("not_a_boolean", path, value)
        words = {"true": True, "1": True, "false": False, "0": False}
        word = str(value).strip().lower()
        if word not in words:
            raise PayloadError("TypeConstraintViolation", f"{path} is not true or false")
        return words[word]
