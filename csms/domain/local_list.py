"""A station's local list of badges: what it should hold, and the next step towards that.

A list moves in updates, each under a version higher than the one before. A full one replaces the
list, a differential one changes it. Long lists go in several updates, the first of them full.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

NO_LIST: Final = -1  # the version that a station of OCPP 1.6 without lists tells
VERSION_MAX: Final = 1_000_000_000  # beyond it a version is no count; it leaves room to count on


class Entry(NamedTuple):
    """A badge in a list; words of OCPP 2.0.1, times in ISO."""

    uid: str
    status: str
    group_uid: str | None = None
    valid_until: str | None = None
    type: str = "ISO14443"  # to stations of 2.0.1 another type is another badge


Listed = Mapping[str, Entry]  # by uid in lower case


class Update(NamedTuple):
    """One message: entries to write, badges to take out, and what the list then is."""

    full: bool
    entries: list[Entry]
    removed: list[Entry]  # as they stand in the list
    becomes: dict[str, Entry]


def next_update(held: Listed, wanted: Listed, *, full: bool, entries_max: int) -> Update | None:
    """The next step from what is held to what is wanted, of `entries_max` badges at most.

    None: the list is as it should be. `full` says that what is held counts for nothing; a list
    that holds nothing begins with a full update too, whatever is left there of a former life.
    """
    if full or (wanted and not held):
        first = dict(list(wanted.items())[:entries_max])
        return Update(True, list(first.values()), [], first)
    removed = [
        key for key, entry in held.items() if key not in wanted or wanted[key].type != entry.type
    ][:entries_max]
    room = entries_max - len(removed)
    changed = [key for key, entry in wanted.items() if held.get(key) != entry][:room]
    if not removed and not changed:
        return None
    becomes = {key: entry for key, entry in held.items() if key not in removed}
    becomes |= {key: wanted[key] for key in changed}
    return Update(False, [wanted[key] for key in changed], [held[key] for key in removed], becomes)


class Known(NamedTuple):
    """What is known of a station's list. `version` None: it must be asked."""

    state: str  # unknown, known, unsupported
    version: int | None
    held: dict[str, Entry]
    full: bool
    failures: int  # since it was last in step


UNKNOWN: Final = Known("unknown", None, {}, True, 0)


def told_version(known: Known, version: int) -> Known:
    """The station said which version it holds."""
    if version == NO_LIST:
        return Known("unsupported", None, {}, True, 0)
    if not 0 <= version <= VERSION_MAX:
        return Known("known", 0, {}, True, known.failures)  # counted from the start, in full
    if version == known.version:
        return known._replace(state="known")  # an update of ours was lost, or nothing happened
    # Somebody else's, a former life's, or none: whatever it is, it is replaced.
    return Known("known", version, {}, version != 0, known.failures)


def accepted(known: Known, version: int, becomes: dict[str, Entry]) -> Known:
    """The station took an update. Former failures count until all of the list is there: a station
    that takes the first part and never the second would be told for ever, without a pause."""
    return Known("known", version, becomes, False, known.failures)


def in_step(known: Known) -> Known:
    """Nothing is left to tell."""
    return known._replace(failures=0)


def refused(known: Known, word: str) -> Known:
    """The station refused an update, in its own word."""
    if word in ("NotSupported", "NotImplemented"):
        return Known("unsupported", None, {}, True, 0)
    if word == "VersionMismatch":
        return Known("unknown", None, {}, True, known.failures + 1)
    return known._replace(full=True, failures=known.failures + 1)


def unanswered(known: Known) -> Known:
    """Nobody knows whether the station took the update: it is asked for its version. If that is
    still the one before, nothing was lost."""
    return known._replace(state="unknown", failures=known.failures + 1)
