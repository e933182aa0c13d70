"""What is documented about settings is what the classes say."""

from __future__ import annotations

from tools import gen_settings_docs


def test_the_page_of_settings_is_current() -> None:
    assert gen_settings_docs.PAGE.read_text() == gen_settings_docs.page()
