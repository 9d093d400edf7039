"""Secrets at rest: sealed, read again, and under which key."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from csms import secrets
from csms.config import SettingError, Settings

KEY, OTHER = "k" * 32, "o" * 32


def with_key(key: str) -> Settings:
    return Settings(secret_key=key)


def test_what_is_sealed_is_read_again_and_shows_nothing() -> None:
    sealed = secrets.seal(with_key(KEY), "un secret à garder")
    assert b"secret" not in sealed
    assert secrets.unseal(with_key(KEY), sealed) == "un secret à garder"
    assert secrets.seal(with_key(KEY), "un secret à garder") != sealed


def test_another_key_opens_nothing_and_a_changed_byte_is_noticed() -> None:
    sealed = secrets.seal(with_key(KEY), "x")
    for settings, content in (
        (with_key(OTHER), sealed),
        (with_key(KEY), sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (with_key(KEY), sealed[:5]),
        (with_key(KEY), b""),
    ):
        with pytest.raises(secrets.Unreadable):
            secrets.unseal(settings, content)


def test_a_former_key_still_opens_while_the_new_one_seals() -> None:
    sealed = secrets.seal(with_key(KEY), "x")
    both = with_key(f"{OTHER}, {KEY}")
    assert secrets.unseal(both, sealed) == "x"
    assert secrets.unseal(with_key(OTHER), secrets.seal(both, "y")) == "y"


def test_the_key_file_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    sealed = secrets.seal(settings, "x")
    path = tmp_path / "data" / secrets.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in path.parent.iterdir()] == [secrets.FILE]
    written = Settings(secret_key=path.read_text().strip())
    assert secrets.unseal(written, sealed) == "x"
    assert secrets.derive(written, "a") == secrets.derive(settings, "a")
    assert secrets.derive(settings, "a") != secrets.derive(settings, "b")


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    for settings in (with_key("short"), with_key(f"{KEY},short"), with_key(",")):
        with pytest.raises(SettingError):
            secrets.seal(settings, "x")
    (tmp_path / secrets.FILE).write_text("short")
    with pytest.raises(SettingError):
        secrets.seal(replace(Settings(), data_dir=tmp_path), "x")
