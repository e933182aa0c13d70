"""The registry of models: complete, consistent, and strict about files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from matteworks_common.settings import SettingsError
from matteworks_inference.app import choose_models
from matteworks_inference.networks.registry import (
    HttpsSource,
    NpmSource,
    PypiSource,
    RegistryError,
    UnknownModel,
    WrongWeights,
    load_registry,
    nearest_size_px,
    parse_registry,
    weights_path,
)
from matteworks_inference.settings import InferenceSettings
from tests.unit.inference.tiny_networks import registry_table, tiny_registry

CONTENT = b"weights"
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


def test_the_default_model_comes_first_and_is_fetched() -> None:
    first = load_registry().entries[0]
    assert first.name == "isnet-general-use"
    assert first.is_pulled_by_default
    assert len(first.sha256) == 64


def test_what_is_fetched_by_default_has_a_checksum_and_a_free_licence() -> None:
    for entry in load_registry().entries:
        if entry.is_pulled_by_default:
            assert entry.sha256, entry.name
            assert entry.sources, entry.name
            assert entry.code_license in ("Apache-2.0", "MIT"), entry.name
            # Of one network the authors do not say; nobody forbids anything.
            assert entry.license in ("Apache-2.0", "MIT") or entry.name == "isnet-general-use", entry.name


def test_non_commercial_weights_have_no_source() -> None:
    assert load_registry().find("rmbg-2.0").sources == ()


def test_the_small_model_needs_only_pip() -> None:
    assert any(isinstance(source, PypiSource) for source in load_registry().find("u2netp").sources)


def test_file_names_differ() -> None:
    files = [entry.file for entry in load_registry().entries]
    assert len(files) == len(set(files))


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownModel, match="u2netp"):
        load_registry().find("resnet")


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((1000, 1000), (512, 512)),
        ((3000, 4000), (512, 672)),
        ((4000, 3000), (672, 512)),
        ((1, 20000), (512, 896)),
        ((2000, 3000), (512, 768)),
    ],
)
def test_the_input_size_nearest_in_aspect_is_taken(size: tuple[int, int], nearest: tuple[int, int]) -> None:
    sizes = load_registry().find("modnet-photographic-portrait").input_sizes_px
    assert nearest_size_px(sizes, *size) == nearest


def test_sources_keep_their_order() -> None:
    registry = parse_registry(
        registry_table("m")
        + """
[[models.sources]]
kind = "https"
url = "https://example.com/m.onnx"
[[models.sources]]
kind = "npm"
package = "p"
version = "1"
listing = "l.json"
resource = "/r"
[[models.sources]]
kind = "pypi"
project = "q"
version = "2"
member = "*/m.onnx"
"""
    )
    assert [type(source) for source in registry.find("m").sources] == [HttpsSource, NpmSource, PypiSource]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models = 3 3", "not TOML"),
        ("", "no \\[\\[models\\]\\]"),
        (registry_table("a") + registry_table("a"), "more than once"),
        (registry_table("a").replace('file = "a.onnx"', ""), "'file' is missing"),
        (registry_table("a").replace("a.onnx", "../a.onnx"), "without a directory"),
        (registry_table("a").replace("subject_types = []", 'subject_types = ["dragon"]'), "dragon"),
        (registry_table("a") + '[[models.sources]]\nkind = "ftp"', "ftp"),
    ],
)
def test_a_wrong_registry_is_refused_with_entry_and_field(text: str, told: str) -> None:
    with pytest.raises(RegistryError, match=told):
        parse_registry(text)


def test_a_file_with_the_right_checksum_is_found(tmp_path: Path) -> None:
    entry = parse_registry(registry_table("m", f'sha256 = "{CHECKSUM}"')).find("m")
    (tmp_path / "m.onnx").write_bytes(CONTENT)
    assert weights_path(entry, tmp_path) == tmp_path / "m.onnx"


def test_a_missing_file_is_no_path(tmp_path: Path) -> None:
    assert weights_path(parse_registry(registry_table("m")).find("m"), tmp_path) is None


def test_a_file_with_another_checksum_is_refused(tmp_path: Path) -> None:
    entry = parse_registry(registry_table("m", f'sha256 = "{"0" * 64}"')).find("m")
    (tmp_path / "m.onnx").write_bytes(CONTENT)
    with pytest.raises(WrongWeights, match=CHECKSUM):
        weights_path(entry, tmp_path)


def test_a_file_changed_after_it_was_verified_is_verified_again(tmp_path: Path) -> None:
    entry = parse_registry(registry_table("m", f'sha256 = "{CHECKSUM}"')).find("m")
    file = tmp_path / "m.onnx"
    file.write_bytes(CONTENT)
    weights_path(entry, tmp_path)
    file.write_bytes(b"tampered")
    with pytest.raises(WrongWeights):
        weights_path(entry, tmp_path)


def test_a_users_own_file_of_a_model_without_known_checksum_is_accepted(tmp_path: Path) -> None:
    entry = parse_registry(registry_table("m")).find("m")
    (tmp_path / "m.onnx").write_bytes(b"whatever")
    assert weights_path(entry, tmp_path) == tmp_path / "m.onnx"


@pytest.mark.parametrize("name", ["isnet-general-use", "isnet-general-use-small", "isnet-general-use-fp32"])
def test_the_licence_of_weights_whose_author_does_not_say_is_unclear(name: str) -> None:
    entry = load_registry().find(name)

    assert (entry.license, entry.code_license, entry.has_clear_license) == ("unclear", "Apache-2.0", False)
    assert "weights" in entry.license_note


def test_a_server_that_requires_clear_licences_refuses_the_others(tmp_path: Path) -> None:
    unclear = registry_table("foggy").replace('license = "Apache-2.0"', 'license = "unclear"')
    tiny_registry(tmp_path, foggy="general", plain="general")
    registry = parse_registry(unclear + registry_table("plain"))
    settings = InferenceSettings(model_directory=tmp_path, requires_clear_licenses=True)

    assert [entry.name for entry, _ in choose_models(settings, registry)] == ["plain"]
    with pytest.raises(SettingsError, match="licence of the weights of foggy is unclear"):
        choose_models(settings.model_copy(update={"models": "foggy"}), registry)
