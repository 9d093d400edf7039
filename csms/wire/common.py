"""Readers and answers that both versions have in common."""

from collections.abc import Callable
from typing import Any, Final

from csms.domain.events import Alive, Event, Outcome, Reported
from csms.exchange import Question
from csms.wire.context import Context, encode, plain, stated, time_text

EMPTY: Final = "{}"


def read_heartbeat(message: Any, context: Context) -> Event:
    """A heartbeat: nothing to keep but the moment."""
    return Alive()


def read_report(kind: str, time_field: str = "timestamp") -> Any:
    """A reader for messages that are kept as they are; `time_field` is where they state a time."""

    def read(message: Any, context: Context) -> Event:
        return Reported(kind, plain(message), stated(getattr(message, time_field, None)))

    return read


def answer_nothing(event: Event, outcome: Outcome) -> str:
    """An empty answer."""
    return EMPTY


def answer_boot(event: Event, outcome: Outcome) -> str:
    """Accepted, Pending or Rejected, with our time and the interval."""
    return encode(
        {
            "currentTime": time_text(outcome.at),
            "interval": outcome.interval_s,
            "status": outcome.boot_status.capitalize(),
        }
    )


def answer_heartbeat(event: Event, outcome: Outcome) -> str:
    """Our time."""
    return f'{{"currentTime":"{time_text(outcome.at)}"}}'


def answer_granted(event: Event, outcome: Outcome) -> str:
    """Accepted when what the station asked for will be seen to, else the honest Rejected."""
    return encode({"status": "Accepted" if outcome.granted else "Rejected"})


def answer_told(otherwise: dict[str, Any]) -> Any:
    """What somebody outside answered; this where nobody did."""
    return lambda event, outcome: encode(otherwise if outcome.told is None else outcome.told)


def ask_outside(kind: str) -> Callable[[Event], Question | None]:
    """The question of a message that is passed on as it is."""

    def question(event: Event) -> Question | None:
        assert isinstance(event, Reported)
        return Question(kind, event.content)

    return question


def answer_fixed(payload: dict[str, Any]) -> Any:
    """An answer that is always the same."""
    text = encode(payload)
    return lambda event, outcome: text
