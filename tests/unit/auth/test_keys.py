"""Keys: what is stored cannot be used, what is wrong is refused."""

from __future__ import annotations

from dataclasses import replace

from matteworks_auth.rules.keys import KeyHasher, KeyRecord
from matteworks_common.key_format import parse_key


def stored(hasher: KeyHasher, kind: str = "live") -> tuple[str, KeyRecord]:
    new = hasher.new_key("test" if kind == "test" else "live")
    return new.text, KeyRecord(new.key_id, "a", new.secret_hash, "", kind == "test", created_us=1)


def test_a_new_key_matches_its_record() -> None:
    hasher = KeyHasher(b"pepper-pepper-pepper")
    text, record = stored(hasher)
    parts = parse_key(text)
    assert parts is not None
    assert hasher.matches(parts, record)


def test_another_pepper_ends_every_key() -> None:
    text, record = stored(KeyHasher(b"pepper-pepper-pepper"))
    parts = parse_key(text)
    assert parts is not None
    assert not KeyHasher(b"other-other-other-other").matches(parts, record)


def test_a_test_key_is_not_a_live_key() -> None:
    hasher = KeyHasher(b"pepper-pepper-pepper")
    text, record = stored(hasher)
    parts = parse_key(text)
    assert parts is not None
    assert not hasher.matches(parts, replace(record, is_test=True))


def test_an_unknown_key_does_not_match() -> None:
    hasher = KeyHasher(b"pepper-pepper-pepper")
    parts = parse_key(stored(hasher)[0])
    assert parts is not None
    assert not hasher.matches(parts, None)


def test_the_secret_is_not_in_the_record() -> None:
    text, record = stored(KeyHasher(b"pepper-pepper-pepper"))
    parts = parse_key(text)
    assert parts is not None
    assert parts.secret not in repr(record)


def test_a_key_ends_when_revoked_or_expired() -> None:
    _, record = stored(KeyHasher(b"pepper-pepper-pepper"))
    assert record.is_valid_at(10)
    assert not replace(record, revoked_us=5).is_valid_at(10)
    assert not replace(record, expires_us=10).is_valid_at(10)
    assert replace(record, expires_us=11).is_valid_at(10)
