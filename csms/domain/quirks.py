"""Known faults of makes, as data: which correction applies to which vendor, model and firmware.

The rows live in the table `quirk`, each with its date and reason. A correction changes how values
are derived, never what is stored as received.
"""

from fnmatch import fnmatchcase
from typing import Final

CORRECTIONS: Final[dict[str, str]] = {
    "register_is_kwh": "the energy register is in kWh where it says Wh: multiplied by 1,000",
    "register_is_wh": "the energy register is in Wh where it says kWh: divided by 1,000",
    "naive_time_is_local": "times without a zone are local time of the site",
}


def matches(pattern: str | None, value: str | None) -> bool:
    """Whether a value fits a pattern with * and ?, without case; None fits everything."""
    return pattern is None or fnmatchcase((value or "").lower(), pattern.lower())
