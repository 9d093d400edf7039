"""Passwords that people choose: which ones are taken, and the slow work on them.

Argon2 takes some ten milliseconds and 19 MB by design: it runs in a bounded pool of threads, beside
the event loop, and never while a connection to the database is held. A check for nobody costs as
much as one for somebody.
"""

import asyncio
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from importlib.resources import files
from itertools import pairwise
from typing import TypeVar

from csms import passwords
from csms.passwords import PASSWORD_BYTES_MAX, PasswordRefused
from csms.refusals import AccountRefusal, ComeLater

Result = TypeVar("Result")

BUSY_RETRY_S = 5
DIFFERENT_CHARACTERS_MIN = 5
_PADDING = re.compile(r"^[\W\d_]+|[\W\d_]+$")


class PasswordWork:
    """The threads of one process, and who may wait for them."""

    def __init__(self, workers: int, waiting_max: int) -> None:
        self._threads = ThreadPoolExecutor(workers, "people")
        self._waiting = 0
        self._waiting_max = waiting_max
        self._threads.submit(_nobodys)  # so that not even the first check for nobody takes longer

    def check_room(self) -> None:
        """Raises: ComeLater when too many wait already."""
        if self._waiting >= self._waiting_max:
            raise ComeLater(
                "busy", "Too many people log in at this moment; try again soon.", BUSY_RETRY_S
            )

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed; takes as long for None, and is not.
        Raises: ComeLater."""
        return await self._run(partial(_verify, password_hash, password.encode()))

    async def hash(self, password: str) -> str:
        """The slow hash. Raises: ComeLater."""
        return await self._run(partial(passwords.hash_chosen, password))

    async def _run(self, work: Callable[[], Result]) -> Result:
        self.check_room()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def check_chosen(password: str, email: str | None, length_min: int) -> None:
    """Accept a password that a person chooses: long, and none that is guessed first; no rule about
    the kinds of its characters. Raises: AccountRefusal.
    """
    try:
        passwords.check_policy(password, length_min)
    except PasswordRefused as error:
        code, number = "password_characters", None
        if len(password) < length_min:
            code, number = "password_short", length_min
        elif len(password.encode("utf-8", "replace")) > PASSWORD_BYTES_MAX:
            code, number = "password_long", PASSWORD_BYTES_MAX
        text = str(error)
        raise AccountRefusal(code, text[:1].upper() + text[1:] + ".", "password", number) from None
    lower = password.lower()
    if email and (lower == email or _core(lower) in (email, email.partition("@")[0])):
        raise AccountRefusal(
            "password_email", "The password is your address, or made from it.", "password"
        )
    if _is_common(lower):
        raise AccountRefusal(
            "password_common",
            "This password is one of those that are guessed first: choose another.",
            "password",
        )


def _core(lower: str) -> str:
    """Without digits and marks at its ends."""
    return _PADDING.sub("", _PADDING.sub("", lower))


def _is_common(lower: str) -> bool:
    """One of the list, or one of it made longer; few characters again and again; a row of them."""
    common = _common()
    if lower in common or _core(lower) in common:
        return True
    if len(set(lower)) < DIFFERENT_CHARACTERS_MIN:
        return True
    for length in range(1, len(lower) // 2 + 1):
        unit = lower[:length]
        repeated = (unit * (len(lower) // length + 1))[: len(lower)] == lower
        if repeated and (length < DIFFERENT_CHARACTERS_MIN or unit in common):
            return True
    steps = {ord(after) - ord(before) for before, after in pairwise(lower)}
    return len(steps) == 1


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    text = (files("csms") / "data" / "common-passwords.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def _verify(password_hash: str | None, password: bytes) -> bool:
    good = passwords.verify(_nobodys() if password_hash is None else password_hash, password)
    return good and password_hash is not None


@lru_cache(maxsize=1)
def _nobodys() -> str:
    """The hash of a password that nobody has."""
    return passwords.hash_chosen(secrets.token_urlsafe(32))
