"""What is wrong in an IRVE file, and what becomes of it in the national consolidation."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as member
from enum import StrEnum
from typing import Any, Final, Protocol, runtime_checkable

from csms.domain.point_rules import Broken
from csms.static_data import Language, message
from reporting.irve.texts import TEXTS

VALUE_LENGTH_MAX: Final = 60
SENTENCE_LENGTH_MAX: Final = 600


@runtime_checkable
class Reason(Protocol):
    """What can say itself."""

    def told(self, language: Language) -> str:
        """The reason as a part of a sentence, without a full stop."""


class Effect(StrEnum):
    """What the national consolidation makes of it; the worst first."""

    FILE = "file"  # the whole file is left out
    DROPPED = "dropped"  # the row is
    WRONG = "wrong"  # it is taken as it stands, and misleads who reads it
    FIXED = "fixed"  # it is put right without a word
    DOUBT = "doubt"  # somebody should look at it; the row is good enough


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; in a row of a file that has a line, its header being line 1."""

    code: str
    effect: Effect
    column: str = ""  # empty: the file, or the row as a whole
    value: str = ""  # as it is written
    line: int | None = None
    point: str = ""  # id_pdc_itinerance of the row
    parts: Mapping[str, Any] = member(default_factory=dict)

    @property
    def refuses(self) -> bool:
        """Whether a row of ours is held back for it."""
        return self.effect is not Effect.DOUBT

    def told(self, language: Language) -> str:
        """What is wrong and what to do, in a sentence or two."""
        parts = {name: _told(part, language) for name, part in self.parts.items()}
        sentence = TEXTS[self.code][language].format(value=shown(self.value), **parts)
        return shown(sentence, SENTENCE_LENGTH_MAX)


def _told(part: object, language: Language) -> object:
    """A part that is a reason says itself, in the language."""
    if isinstance(part, Reason):
        return part.told(language)
    if isinstance(part, Broken):
        return message(part.code, language, **part.parts)
    return part


def shown(text: str, length_max: int = VALUE_LENGTH_MAX) -> str:
    """A text of somebody else's fit to be shown: nothing but what prints, and not too long."""
    printable = "".join(c if c.isprintable() else " " for c in text[: length_max + 1])
    return printable if len(printable) <= length_max else printable[: length_max - 1] + "…"
