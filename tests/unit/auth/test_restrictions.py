"""A restricted key works where it may, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks_auth.rules.keys import KeyRecord
from matteworks_auth.rules.restrictions import Restrictions, checked_dialect, checked_restrictions
from matteworks_common.errors import Forbidden, InvalidField

ANYWHERE = Restrictions()


def fault(restrictions: Restrictions, *, origin: str = "", address: str = "", dialect: str = "") -> str:
    """The field at fault, empty when all is allowed."""
    try:
        restrictions.check(origin=origin, address=address, dialect=dialect)
    except Forbidden as error:
        return error.field
    return ""


def test_an_unrestricted_key_works_everywhere() -> None:
    assert not fault(ANYWHERE)
    assert not fault(ANYWHERE, origin="https://x.example", address="203.0.113.7", dialect="removebg")


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://shop.example:443/", "https://shop.example"),
        ("HTTPS://Shop.Example", "https://shop.example:443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://*.shop.example", "https://a.b.shop.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_origin_that_is_allowed_passes(allowed: str, origin: str) -> None:
    assert not fault(checked_restrictions([allowed], [], []), origin=origin)


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ("https://shop.example", ""),
        ("https://shop.example", "null"),
        ("https://shop.example", "http://shop.example"),
        ("https://shop.example", "https://shop.example:8443"),
        ("https://shop.example", "https://shop.example.evil.example"),
        ("https://shop.example", "https://evilshop.example"),
        ("https://shop.example", "https://shop.example@evil.example"),
        ("https://*.shop.example", "https://shop.example"),
        ("https://*.shop.example", "https://evilshop.example"),
        ("https://*.shop.example", "http://a.shop.example"),
        ("https://shop.example", "https://shop.example:99999"),
    ],
)
def test_any_other_origin_is_refused(allowed: str, origin: str) -> None:
    assert fault(checked_restrictions([allowed], [], []), origin=origin) == "origin"


@pytest.mark.parametrize(
    ("allowed", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.0/24", "203.0.113.250"),
        ("203.0.113.0/24", "::ffff:203.0.113.250"),
        ("2001:db8::/32", "2001:db8:1::5"),
    ],
)
def test_an_address_within_an_allowed_network_passes(allowed: str, address: str) -> None:
    assert not fault(checked_restrictions([], [allowed], []), address=address)


@pytest.mark.parametrize(
    ("allowed", "address"),
    [
        ("203.0.113.7", ""),
        ("203.0.113.7", "203.0.113.8"),
        ("203.0.113.0/24", "203.0.114.0"),
        ("203.0.113.0/24", "2001:db8::1"),
        ("203.0.113.0/24", "unknown"),
        ("2001:db8::/32", "203.0.113.7"),
    ],
)
def test_any_other_address_is_refused(allowed: str, address: str) -> None:
    assert fault(checked_restrictions([], [allowed], []), address=address) == "client_address"


def test_a_dialect_that_is_not_named_is_refused() -> None:
    restrictions = checked_restrictions([], [], ["bgremover", "bgeraser"])
    assert not fault(restrictions, dialect="bgeraser")
    assert fault(restrictions, dialect="removebg") == fault(restrictions) == "dialect"


@pytest.mark.parametrize(
    ("field", "lists"),
    [
        ("allowed_origins", (["shop.example"], [], [])),
        ("allowed_origins", (["https://shop.example/path"], [], [])),
        ("allowed_origins", (["*"], [], [])),
        ("allowed_origins", (["https://a b"], [], [])),
        ("allowed_origins", (["https://x.example"] * 21, [], [])),
        ("allowed_networks", ([], ["203.0.113.7/24"], [])),
        ("allowed_networks", ([], ["203.0.113"], [])),
        ("allowed_networks", ([], ["example.com"], [])),
        ("allowed_dialects", ([], [], ["Remove bg"])),
        ("allowed_dialects", ([], [], [""])),
    ],
)
def test_a_restriction_that_means_nothing_is_refused_by_name(
    field: str, lists: tuple[list[str], list[str], list[str]]
) -> None:
    with pytest.raises(InvalidField) as caught:
        checked_restrictions(*lists)
    assert caught.value.field == field


@given(origin=st.text(max_size=60), address=st.text(max_size=60))
def test_whatever_is_told_a_restricted_key_answers_or_refuses(origin: str, address: str) -> None:
    fault(checked_restrictions(["https://shop.example"], [], []), origin=origin)
    fault(checked_restrictions([], ["203.0.113.0/24"], []), address=address)


@given(st.text(min_size=1, max_size=60))
def test_whatever_is_given_as_origin_is_normalised_or_refused(text: str) -> None:
    try:
        (origin,) = checked_restrictions([text], [], []).origins
    except InvalidField:
        return
    assert checked_restrictions([origin], [], []).origins == (origin,)
    assert " " not in origin


def test_a_dialect_may_be_empty() -> None:
    assert checked_dialect("dialect", "") == ""


@pytest.mark.parametrize(
    ("own", "accounts", "allowed", "found"),
    [
        ("", "", (), ""),
        ("", "bgremover", (), "bgremover"),
        ("bgeraser", "bgremover", (), "bgeraser"),
        ("", "", ("removebg", "bgeraser"), "removebg"),
        ("", "bgeraser", ("removebg", "bgeraser"), "bgeraser"),
        ("", "bgremover", ("removebg", "bgeraser"), "removebg"),
    ],
)
def test_the_key_decides_over_its_account(
    own: str, accounts: str, allowed: tuple[str, ...], found: str
) -> None:
    key = KeyRecord(
        "k", "a", "", "", False, 1,
        dialect=own, account_dialect=accounts, restrictions=Restrictions(dialects=allowed),
    )  # fmt: skip
    assert key.own_dialect == found
