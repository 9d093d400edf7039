"""Local lists, apart from stations: every history of updates and failures ends in step."""

from hypothesis import given
from hypothesis import strategies as st

from csms.domain.local_list import (
    UNKNOWN,
    Entry,
    Known,
    Update,
    accepted,
    in_step,
    next_update,
    refused,
    told_version,
    unanswered,
)

uids = st.sampled_from("abcdefghij")
types = st.sampled_from(["ISO14443", "eMAID"])
entries = st.builds(Entry, uids, st.sampled_from(["Accepted", "Blocked"]), type=types)
lists = st.lists(entries, max_size=10).map(lambda found: {entry.uid: entry for entry in found})


def apply(held: dict[str, Entry], update: Update) -> dict[str, Entry]:
    """What a station does with an update."""
    after = {} if update.full else dict(held)
    for entry in update.removed:
        assert after[entry.uid].type == entry.type
        del after[entry.uid]
    return after | {entry.uid: entry for entry in update.entries}


@given(lists, lists, st.booleans(), st.integers(1, 4))
def test_updates_lead_from_any_list_to_the_wanted_one(
    held: dict[str, Entry], wanted: dict[str, Entry], full: bool, entries_max: int
) -> None:
    believed = held
    for _ in range(50):
        update = next_update(believed, wanted, full=full, entries_max=entries_max)
        if update is None:
            break
        assert len(update.entries) + len(update.removed) <= entries_max
        held = apply(held, update)
        assert held == update.becomes
        believed, full = update.becomes, False
    assert held == wanted


class Station:
    """One that takes updates, fails, mixes versions up, and says nothing, as it is told to."""

    def __init__(self) -> None:
        self.version = 0
        self.held: dict[str, Entry] = {}

    def take(self, update: Update, version: int, mood: str) -> str | None:
        """Its answer; None: none came, though it may have taken the update."""
        if mood == "fails":
            return "Failed"
        if mood == "deaf":
            return None
        if not update.full and version <= self.version:
            return "VersionMismatch"
        self.held = apply(self.held, update)
        self.version = version
        return None if mood == "mute" else "Accepted"


@given(
    lists,
    st.lists(st.sampled_from(["fails", "deaf", "mute", "obeys", "reset"]), max_size=12),
    st.integers(1, 5),
)
def test_any_history_of_failures_ends_in_step(
    wanted: dict[str, Entry], moods: list[str], entries_max: int
) -> None:
    station, known = Station(), UNKNOWN
    for mood in [*moods, *["obeys"] * 40]:
        if mood == "reset":  # it forgets all, and boots
            station = Station()
            known = known._replace(state="unknown")
            continue
        known = step(station, known, wanted, mood, entries_max)
    assert station.held == wanted
    assert known == Known("known", station.version, wanted, False, 0)


def step(
    station: Station, known: Known, wanted: dict[str, Entry], mood: str, entries_max: int
) -> Known:
    """One exchange between us and the station."""
    if known.state == "unknown":
        return unanswered(known) if mood in ("deaf", "mute") else told(station, known)
    update = next_update(known.held, wanted, full=known.full, entries_max=entries_max)
    if update is None:
        return in_step(known)
    version = (known.version or 0) + 1
    answer = station.take(update, version, mood)
    if answer is None:
        return unanswered(known)
    return (
        accepted(known, version, update.becomes) if answer == "Accepted" else refused(known, answer)
    )


def told(station: Station, known: Known) -> Known:
    return told_version(known, station.version)


def test_empty_list_is_begun_with_a_full_update_and_left_alone_when_it_should_be_empty() -> None:
    known = told_version(UNKNOWN, 0)
    wanted = {"a": Entry("a", "Accepted")}
    update = next_update(known.held, wanted, full=known.full, entries_max=1)
    assert update is not None and update.full
    assert next_update(known.held, {}, full=known.full, entries_max=1) is None


def test_station_without_lists_is_left_alone() -> None:
    assert told_version(UNKNOWN, -1).state == "unsupported"
    assert refused(UNKNOWN, "NotSupported").state == "unsupported"
