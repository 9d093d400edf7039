"""A mail in words: the texts of a language, filled with what happened, as plain text and as HTML.

A language is one file, texts/<language>.toml, checked to hold every event when it is read; another
language is another file. The shape of a mail (paragraphs, facts, one button) is the file's: each
piece is a Jinja template of its own, so that no value can add a line, a link or a header. Both
bodies are made of the same pieces, HTML with every value escaped.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import ChainableUndefined, Environment
from jinja2.sandbox import SandboxedEnvironment

from csms.notifications import writing
from csms.notifications.catalogue import CATALOGUE

LANGUAGES: Final = ("fr", "en")
ZONE: Final = "Europe/Paris"
VALUE_LENGTH_MAX: Final = 500
_TEXTS: Final = Path(__file__).parent / "texts"


@dataclass(frozen=True, slots=True)
class Mail:
    """What a person reads."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class _Pieces:
    """A mail's parts, filled; empty ones are left out."""

    subject: str
    greeting: str
    body: list[str]
    facts: list[tuple[str, str]]
    button: tuple[str, str] | None
    note: str
    signature: str
    footer: str
    choices: tuple[str, str] | None
    colon: str


def render(
    event: str,
    language: str,
    values: Mapping[str, Any],
    *,
    name: str = "",
    choices_url: str | None = None,
) -> Mail:
    """The mail of an event in a language; one that we have no texts in gets French.

    `values`: the event's data, its secrets and `at`. `choices_url`: where she may switch it off;
    None: she may not.
    """
    language = language if language in LANGUAGES else LANGUAGES[0]
    pieces = _filled(event, language, dict(values) | {"name": name}, choices_url)
    html = _layout().render(mail=pieces, language=language)
    return Mail(subject=pieces.subject, text=_as_text(pieces), html=html)


@cache
def _texts(language: str) -> dict[str, Any]:
    """All texts of a language, in its typography."""
    read = tomllib.loads((_TEXTS / f"{language}.toml").read_text(encoding="utf-8"))
    missing = set(CATALOGUE) - set(read)
    assert not missing, f"{language}.toml has no text of {', '.join(sorted(missing))}"
    typeset: dict[str, Any] = writing.typeset(read, language)
    return typeset


@cache
def _environment(language: str) -> Environment:
    """Jinja for single lines of text: nothing that a value holds starts another line."""
    environment = SandboxedEnvironment(undefined=ChainableUndefined, finalize=_line)
    reasons = _texts(language)["reasons"]
    environment.filters |= {
        "moment": lambda value, zone=None: writing.moment(_time(value), _zone(zone), language),
        "day": lambda value: writing.day(_date(value), language),
        "month": lambda value: writing.month(_date(value), language),
        "money": lambda value: writing.money(value, language),
        "energy": lambda value: writing.energy(value, language),
        "duration": lambda begin, end: writing.duration(_time(begin), _time(end)),
        "reason": lambda code: reasons.get(str(code), "") if code else "",
    }
    return environment


@cache
def _layout() -> Any:
    environment = Environment(autoescape=True)
    return environment.from_string((_TEXTS / "mail.html").read_text(encoding="utf-8"))


@cache
def _template(language: str, source: str) -> Any:
    return _environment(language).from_string(source)


def _filled(event: str, language: str, values: dict[str, Any], choices_url: str | None) -> _Pieces:
    texts = _texts(language)
    common, of_event = texts["_"], texts[event]

    def fill(source: str) -> str:
        return str(_template(language, source).render(values)).strip()

    facts = [(label, fill(source)) for label, source in of_event.get("facts", [])]
    label, source = of_event.get("button", ("", ""))
    link = fill(source)
    return _Pieces(
        subject=fill(of_event["subject"]),
        greeting=fill(common["greeting"]),
        body=[filled for source in of_event["body"] if (filled := fill(source))],
        facts=[(label, value) for label, value in facts if value],
        button=(label, link) if link.startswith(("https://", "http://")) else None,
        note=fill(of_event.get("note", "")),
        signature=common["signature"],
        footer=common["footer"],
        choices=(common["choices"], choices_url) if choices_url else None,
        colon=common["colon"],
    )


def _as_text(pieces: _Pieces) -> str:
    """The plain text: what the HTML says, in the same order."""
    blocks = [pieces.subject, pieces.greeting, *pieces.body]
    if pieces.facts:
        blocks.append("\n".join(f"{label}{pieces.colon}{value}" for label, value in pieces.facts))
    if pieces.button:
        blocks.append(f"{pieces.button[0]}{pieces.colon.rstrip(' ')}\n{pieces.button[1]}")
    if pieces.note:
        blocks.append(pieces.note)
    blocks.append(pieces.signature)
    footer = pieces.footer
    if pieces.choices:
        footer += f"\n{pieces.choices[0]}{pieces.colon}{pieces.choices[1]}"
    return "\n\n".join([*blocks, f"-- \n{footer}"]) + "\n"


def _line(value: Any) -> Any:
    """A value as part of one line: no line breaks, no control characters, no more than fits."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    kept = "".join(c if c.isprintable() or c in writing.BLANKS else " " for c in value)
    return kept if "://" in kept else kept[:VALUE_LENGTH_MAX]


def _time(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None


def _date(value: Any) -> date | None:
    if isinstance(value, date):
        return value
    return date.fromisoformat(value) if isinstance(value, str) and value else None


def _zone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(name if isinstance(name, str) and name else ZONE)
    except (ValueError, OSError, KeyError):  # a site's zone is what somebody wrote
        return ZoneInfo(ZONE)
