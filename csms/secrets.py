"""Secrets at rest: what must be read again and must not lie open in the database or its backups.

The key is T2P_SECRET_KEY, or the file `secret.key` of the data directory, made at first need and
readable by its owner only. Several nodes that share a database need the same key: give all of them
T2P_SECRET_KEY, or the same file. A database restored elsewhere needs it too: without it second
factors have to be set up anew, and mails that wait are lost.

T2P_SECRET_KEY takes several keys with commas: the first seals, all of them open, so that a key can
be changed. What is sealed is a version byte, a nonce of 12 bytes and AES-256-GCM.
"""

import os
import secrets
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from csms.config import SettingError, Settings

FILE = "secret.key"
KEY_LENGTH_MIN = 32
_VERSION = b"\x01"
_NONCE_BYTES = 12


class Unreadable(Exception):
    """Sealed under another key, or damaged."""


def seal(settings: Settings, text: str) -> bytes:
    """The text, readable with the key only. Raises: SettingError without a key that can be used."""
    nonce = os.urandom(_NONCE_BYTES)
    key = derive(settings, "seal")
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, text.encode(), _VERSION)


def unseal(settings: Settings, sealed: bytes) -> str:
    """What was sealed. Raises: Unreadable; SettingError without a key that can be used."""
    nonce, content = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    if sealed[:1] != _VERSION or len(nonce) != _NONCE_BYTES:
        raise Unreadable("this was not sealed here")
    for key in _keys(settings):
        with suppress(InvalidTag):
            return AESGCM(_derived(key, "seal")).decrypt(nonce, content, _VERSION).decode()
    raise Unreadable("this was sealed under another key: see T2P_SECRET_KEY")


def derive(settings: Settings, purpose: str) -> bytes:
    """32 bytes for one purpose, the same on every node. Raises: SettingError, as above."""
    return _derived(_keys(settings)[0], purpose)


def _keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys, the one that seals first."""
    if settings.secret_key is None:
        return (_key_of_file(settings.data_dir.absolute() / FILE),)
    keys = tuple(part.strip().encode() for part in settings.secret_key.split(",") if part.strip())
    if not keys or any(len(key) < KEY_LENGTH_MIN for key in keys):
        raise SettingError(f"T2P_SECRET_KEY takes at least {KEY_LENGTH_MIN} characters of chance")
    return keys


@lru_cache(maxsize=16)
def _key_of_file(path: Path) -> bytes:
    """The key in the file, which is made when it is not there; several may try at once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # then another process was first, and its key counts
            os.link(made, path)
        made.unlink()
    key = path.read_text(encoding="ascii").strip().encode()
    if len(key) < KEY_LENGTH_MIN:
        raise SettingError(f"{path} holds no key of {KEY_LENGTH_MIN} characters")
    return key


@lru_cache(maxsize=64)
def _derived(key: bytes, purpose: str) -> bytes:
    made = HKDF(hashes.SHA256(), length=32, salt=None, info=b"time2plug " + purpose.encode())
    return made.derive(key)
