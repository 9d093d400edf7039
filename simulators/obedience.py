"""How a simulated charge point obeys: by the book, or not, action by action; plain data.

accept   does what the standard and its own state allow, and says so
refuse   says no in the words of its version, and changes nothing
error    answers CALLERROR
silent   never answers, and does nothing
reboot   loses power in the middle of the order, unanswered, and boots again
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

BEHAVIOURS = ("accept", "refuse", "error", "silent", "reboot")


@dataclass(frozen=True, kw_only=True)
class Obedience:
    """What becomes of an order, by its action; `usual` for those that are not named."""

    usual: str = "accept"
    by_action: Mapping[str, str] = field(default_factory=dict)

    def of(self, action: str) -> str:
        """One of BEHAVIOURS."""
        return self.by_action.get(action, self.usual)


def parse_obedience(text: str) -> Obedience:
    """From words with commas between: `refuse`, `Reset=silent`, `error,ClearCache=accept`.

    Raises: ValueError, saying what is wrong.
    """
    usual = "accept"
    by_action: dict[str, str] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        action, given, behaviour = word.rpartition("=")
        if behaviour not in BEHAVIOURS:
            raise ValueError(f"{behaviour!r} is none of {', '.join(BEHAVIOURS)}")
        if not given:
            usual = behaviour
        elif action.isalnum():
            by_action[action] = behaviour
        else:
            raise ValueError(f"{action!r} is no action of OCPP")
    return Obedience(usual=usual, by_action=by_action)
