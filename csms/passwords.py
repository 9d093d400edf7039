"""Passwords of stations: generated, hashed, verified.

Two kinds of hash, told apart by their first word:

- `fast$SALT$DIGEST`: salted SHA-256, only for passwords that we generated. They hold 160 bits of
  chance, so that no slow hash could make guessing harder, and thousands of stations that come
  back at once cost no second of CPU.
- `$argon2id$...`: for passwords that people chose. One check costs some ten milliseconds and
  megabytes by design: callers on an event loop run `verify` in a bounded pool of threads.

A password that a person types in is always hashed slowly, even one that `generate` made: nothing
but `generate` itself proves where it came from, hence `generate_hashed`.
"""

import base64
import hashlib
import hmac
import secrets

import argon2

PASSWORD_BYTES_MAX = 255
"""Longer ones are refused; OCPP 1.6 and 2.0.1 ask for 16 to 40 characters."""

_FAST = "fast"
_ENTROPY_BYTES = 20
_SALT_BYTES = 16
_SLOW = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class PasswordRefused(ValueError):
    """A password that policy or protocol does not allow; the text says why, never the password."""


def check_policy(password: str, length_min: int) -> None:
    """Accept the password or say what is wrong with it.

    Raises: PasswordRefused for fewer than `length_min` characters, more than PASSWORD_BYTES_MAX
    bytes in UTF-8, or control characters.
    """
    if len(password) < length_min:
        raise PasswordRefused(f"a password takes at least {length_min} characters")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in password):
        raise PasswordRefused("a password holds no control characters")
    try:
        length_bytes = len(password.encode())
    except UnicodeEncodeError:
        raise PasswordRefused("a password is valid Unicode text") from None
    if length_bytes > PASSWORD_BYTES_MAX:
        raise PasswordRefused(f"a password takes at most {PASSWORD_BYTES_MAX} bytes")


def generate() -> str:
    """A new password: 32 letters and digits, 160 bits of chance, within what OCPP stations take."""
    return base64.b32encode(secrets.token_bytes(_ENTROPY_BYTES)).decode().lower()


def generate_hashed() -> tuple[str, str]:
    """A new password and its fast hash. The only way to a fast hash from outside."""
    password = generate()
    return password, hash_generated(password)


def hash_generated(password: str) -> str:
    """Fast hash of a password that `generate` has just returned."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"{_FAST}${salt.hex()}${_digest(salt, password.encode()).hex()}"


def hash_chosen(password: str) -> str:
    """Slow hash (argon2id) of a password that a person chose. Takes some ten milliseconds."""
    return _SLOW.hash(password)


def hash_told(password: str) -> str:
    """Slow hash of a password that a station was told by OCPP.

    One in hex means the bytes that it writes, and stations send either of the two: hashed as bytes,
    it fits both (see csms.wire.admission.password_forms).
    """
    try:
        meant = bytes.fromhex(password)
    except ValueError:
        return hash_chosen(password)
    return _SLOW.hash(meant) if meant else hash_chosen(password)


def is_fast(password_hash: str) -> bool:
    """True when `verify` takes microseconds and needs no pool."""
    return password_hash.startswith(_FAST + "$")


def verify(password_hash: str, password: bytes) -> bool:
    """True when the password is the one that was hashed, in time that does not depend on it.

    A hash that cannot be read is nobody's password.
    """
    if len(password) > PASSWORD_BYTES_MAX:
        return False
    if is_fast(password_hash):
        return _verify_fast(password_hash, password)
    try:
        return _SLOW.verify(password_hash, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def _verify_fast(password_hash: str, password: bytes) -> bool:
    try:
        _, salt, digest = password_hash.split("$")
        expected = bytes.fromhex(digest)
        actual = _digest(bytes.fromhex(salt), password)
    except ValueError:
        return False
    return hmac.compare_digest(expected, actual)


def _digest(salt: bytes, password: bytes) -> bytes:
    return hashlib.sha256(salt + password).digest()
