"""Which blocks count as samples."""

from __future__ import annotations

import pytest

from tests.docs.samples import BadMarker, Language, find_samples

CURL = "```sh\ncurl http://127.0.0.1:8080/healthz\n```\n"
MAKE = "```sh\nmake demo\n```\n"


def test_a_block_with_curl_is_a_sample() -> None:
    (sample,) = find_samples(f"# Title\n\n{CURL}", "README.md")

    assert (sample.id, sample.language) == ("README.md:4", Language.SHELL)
    assert sample.text == "curl http://127.0.0.1:8080/healthz\n"
    assert sample.not_run_because == ""


@pytest.mark.parametrize("word", ["python", "py", "js", "javascript", "mjs"])
def test_a_block_of_a_programming_language_is_a_sample(word: str) -> None:
    assert len(list(find_samples(f"```{word}\n1\n```\n", "a.md"))) == 1


@pytest.mark.parametrize("block", [MAKE, "```\ncurl x\n```\n", "```json\n{}\n```\n"])
def test_other_blocks_are_left_alone(block: str) -> None:
    assert list(find_samples(block, "a.md")) == []


def test_a_comment_makes_a_shell_block_a_sample() -> None:
    assert len(list(find_samples(f"<!-- sample: run -->\n{MAKE}", "a.md"))) == 1


def test_a_comment_keeps_a_sample_from_running_and_says_why() -> None:
    (sample,) = find_samples(f"<!-- sample: not run, it needs a GPU -->\n\n{CURL}", "a.md")

    assert sample.not_run_because == "it needs a GPU"


@pytest.mark.parametrize("rule", ["not run", "skip", ""])
def test_a_comment_that_says_nothing_known_is_an_error(rule: str) -> None:
    with pytest.raises(BadMarker, match=r"a\.md:2"):
        list(find_samples(f"<!-- sample: {rule} -->\n{CURL}", "a.md"))


def test_an_indented_block_loses_its_indent() -> None:
    (sample,) = find_samples("1. So:\n\n   ```python\n   if True:\n       pass\n   ```\n", "a.md")

    assert sample.text == "if True:\n    pass\n"


def test_a_longer_fence_holds_a_shorter_one() -> None:
    assert list(find_samples(f"````markdown\n{CURL}````\n", "a.md")) == []
