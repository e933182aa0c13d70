"""What a visitor chose, in the words of each provider."""

from __future__ import annotations

import pytest

from matteworks_console.call_samples import (
    LANGUAGES,
    PROVIDERS,
    Choices,
    Provider,
    find_provider,
    program,
    read_choices,
)

EVERYTHING = Choices("colour", "#ff0000", "drop", True, "5", "webp", "preview")


@pytest.mark.parametrize("name", ["background", "colour", "shadow", "crop", "margin", "format", "size"])
def test_nothing_but_known_values_gets_into_a_program(name: str) -> None:
    choices = read_choices({name: '"; rm -rf / #', "background": "colour"} | {name: '"; rm -rf / #'})

    for provider in PROVIDERS:
        for language in LANGUAGES:
            assert "rm -rf" not in program(language, "http://h", provider.call(choices))


def test_choices_are_read_from_the_form() -> None:
    query = {
        "background": "colour", "colour": "#ff0000", "shadow": "drop", "crop": "true", "margin": "5",
        "format": "webp", "size": "preview",
    }  # fmt: skip

    assert read_choices(query) == EVERYTHING


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_a_choice_is_asked_for_or_named_as_left_out(provider: Provider) -> None:
    call = provider.call(EVERYTHING)

    assert (provider.colour_field in call.fields) != ("background" in call.left_out)
    assert ("shadow_type" in call.fields) != ("shadow" in call.left_out)
    assert ("crop" in call.fields) != ("crop" in call.left_out)
    assert ("crop_margin" in call.fields) != ("margin" in call.left_out)
    assert call.fields.get("format") == "webp" or call.headers == {"Accept": "image/webp"}


def test_a_background_picture_is_sent_as_a_file() -> None:
    call = find_provider("removebg").call(Choices(background="picture"))

    assert all("background.jpg" in program(language, "http://h", call) for language in LANGUAGES)


def test_python_programs_compile() -> None:
    for provider in PROVIDERS:
        compile(program("python", "http://h", provider.call(EVERYTHING)), provider.name, "exec")
