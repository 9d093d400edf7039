"""The badges that a charge point knows by itself: its local list and its cache. Pure."""

from dataclasses import dataclass, field

CACHE_MAX = 1_000


@dataclass(frozen=True)
class Known:
    """What is known of one badge; group None: it has none."""

    status: str
    group: str | None = None


@dataclass
class LocalList:
    """Badges in lower case, and the version under which they were sent; 0: none ever was."""

    version: int = 0
    known: dict[str, Known] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # as written in the list

    def replace(self, version: int, entries: list[tuple[str, Known | None]], *, full: bool) -> None:
        """Take a full list, or a differential one; None: the badge goes."""
        known = {} if full else dict(self.known)
        names = {} if full else dict(self.names)
        for badge, entry in entries:
            key = badge.lower()
            if entry is None:
                known.pop(key, None)
                names.pop(key, None)
            else:
                known[key] = entry
                names[key] = badge
        self.version, self.known, self.names = version, known, names

    def size_after(self, entries: list[tuple[str, Known | None]], *, full: bool) -> int:
        """How many badges there would be."""
        keys = set() if full else set(self.known)
        for badge, entry in entries:
            (keys.discard if entry is None else keys.add)(badge.lower())
        return len(keys)


@dataclass
class Badges:
    """List and cache together; the list is asked first."""

    listed: LocalList = field(default_factory=LocalList)
    cached: dict[str, Known] = field(default_factory=dict)

    def find(self, badge: str) -> Known | None:
        """What is known of a badge; None: nothing."""
        key = badge.lower()
        return self.listed.known.get(key) or self.cached.get(key)

    def group(self, badge: str) -> str | None:
        """The group of a badge, as far as known."""
        known = self.find(badge)
        return None if known is None else known.group

    def remember(self, badge: str, known: Known) -> None:
        """Keep an answer of the central system; beyond CACHE_MAX the oldest is forgotten."""
        self.cached.pop(badge.lower(), None)
        self.cached[badge.lower()] = known
        if len(self.cached) > CACHE_MAX:
            del self.cached[next(iter(self.cached))]

    def belong_together(self, badge: str, other: str) -> bool:
        """Whether two badges are the same, or of one group."""
        if badge.lower() == other.lower():
            return True
        group = self.group(badge)
        return group is not None and group == self.group(other)
