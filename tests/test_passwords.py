"""Passwords of stations: hashed by where they came from, never accepted by chance."""

import pytest

from csms import passwords


def test_generated_password_has_chance_enough_and_a_fast_hash() -> None:
    made = {passwords.generate() for _ in range(100)}
    assert len(made) == 100
    for password in made:
        assert len(password) == 32  # of 32 kinds of characters: 160 bits
        assert 16 <= len(password) <= 40  # what OCPP stations take
    password, password_hash = passwords.generate_hashed()
    assert passwords.is_fast(password_hash)
    assert password not in password_hash
    assert passwords.verify(password_hash, password.encode())
    assert not passwords.verify(password_hash, password.upper().encode())


def test_chosen_password_has_a_slow_hash_with_a_salt() -> None:
    first, second = (passwords.hash_chosen("correct horse battery") for _ in range(2))
    assert first != second
    assert not passwords.is_fast(first)
    assert passwords.verify(first, b"correct horse battery")
    assert not passwords.verify(first, b"correct horse staple")


def test_password_beyond_ascii_is_compared_as_utf_8() -> None:
    password_hash = passwords.hash_chosen("clé élevée")
    assert passwords.verify(password_hash, "clé élevée".encode())
    assert not passwords.verify(password_hash, "clé élevée".encode("latin-1"))


@pytest.mark.parametrize(
    "password_hash", ["", "fast$", "fast$xx$yy", "fast$00$00$00", "$argon2id$", "plain", "fast$00$"]
)
def test_unreadable_hash_is_nobodys_password(password_hash: str) -> None:
    for password in (b"", b"plain", b"\xff" * 300, password_hash.encode()):
        assert not passwords.verify(password_hash, password)


@pytest.mark.parametrize(
    "password", ["short", "a" * 256, "with\nbreak in it", "é" * 128, "\ud800" * 9]
)
def test_policy_refuses(password: str) -> None:
    with pytest.raises(passwords.PasswordRefused):
        passwords.check_policy(password, 8)


def test_policy_is_a_setting() -> None:
    passwords.check_policy("tiny", 4)
    with pytest.raises(passwords.PasswordRefused, match="at least 16 characters"):
        passwords.check_policy("twelve chars", 16)
