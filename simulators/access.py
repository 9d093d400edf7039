"""How a charge point connects: as it was delivered, and as orders have changed it since.

Pure. 1.6 changes `SecurityProfile` and `AuthorizationKey`; 2.0.1 fills numbered network profiles
and names them in `NetworkConfigurationPriority`. A change of either is tried on the next
connection and given up for what worked before when it fails too often. A new password is not given
up: the station has forgotten the old one.
"""

from dataclasses import dataclass, replace

ATTEMPTS_MAX = 3  # of a way to connect that never worked, before the one that did
SLOTS_MAX = 3  # network profiles
DELIVERED_SLOT = 1


@dataclass(frozen=True)
class Way:
    """One way to connect. url None: the one that the driver was given for this profile.

    security_profile: 0 nothing, 1 password, 2 TLS and password, 3 TLS and client certificate.
    """

    security_profile: int
    url: str | None = None

    @property
    def has_tls(self) -> bool:
        """Whether it goes over TLS."""
        return self.security_profile >= 2

    @property
    def has_password(self) -> bool:
        """Whether the password is shown."""
        return self.security_profile in (1, 2)


class Access:
    """The present way, those behind it, and the password; None: the one it was delivered with."""

    def __init__(self, security_profile: int = 0) -> None:
        self.password: str | None = None
        self.slots: dict[int, Way] = {DELIVERED_SLOT: Way(security_profile)}
        self.priority: list[int] = [DELIVERED_SLOT]
        self._ways = [Way(security_profile)]
        self._attempts = 0

    @property
    def way(self) -> Way:
        """How to connect now."""
        return self._ways[0]

    @property
    def security_profile(self) -> int:
        """The profile in use, or on trial."""
        return self.way.security_profile

    def change_profile(self, security_profile: int) -> None:
        """1.6: from the next connection on, with the present way to fall back on."""
        self._ways = [replace(self.way, security_profile=security_profile), self.way]
        self._attempts = 0

    def use_priority(self) -> None:
        """2.0.1, at a boot: the slots in their order, and last what works now."""
        ways = [self.slots[number] for number in self.priority]
        if ways[0] != self.way:
            self._ways = [*ways, self.way]
            self._attempts = 0

    def failed(self) -> None:
        """A connection was refused, or could not be made."""
        self._attempts += 1
        if self._attempts >= ATTEMPTS_MAX and len(self._ways) > 1:
            del self._ways[0]
            self._attempts = 0

    def succeeded(self) -> None:
        """The present way works: nothing else is tried any more."""
        del self._ways[1:]
        self._attempts = 0
