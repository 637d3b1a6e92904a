"""What a site brings into a federation is in a file of its own, which anybody can read and no job can set."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fedbbpt.errors import ConfigError, DataError, UnknownName
from fedbbpt.federation.policy import Policy
from fedbbpt.federation.site_config import SiteConfig


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kit's folder; in the working directory beside it are data, and files that a backend reads."""
    home = tmp_path / "home"
    for name in ("cat", "dog"):
        (home / "images" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(home / "images" / name / "0.png")
    (home / "texts.csv").write_text("text,label\n")
    (home / "model").mkdir()
    (home / "head.safetensors").write_bytes(b"")
    (home / "openai.key").write_text("sk-secret")
    monkeypatch.chdir(home)
    (tmp_path / "kit").mkdir()
    return tmp_path / "kit"


IMAGES: dict[str, Any] = {"data": {"name": "folder:images"}, "backend": {"name": "local-vit", "classifier": "mnist"}}
TEXTS: dict[str, Any] = {
    "data": {"name": "csv:texts.csv", "group_column": "patient"},
    "backend": {"name": "openai", "key_file": "openai.key", "base_url": "http://10.0.0.7:8000/v1"},
    "policy": {"max_queries": 5000, "algorithms": ["fedavg"], "max_cost": 2.0},
}


@pytest.mark.parametrize("settings", [IMAGES, TEXTS])
def test_what_is_written_is_read(settings: dict[str, Any], kit: Path) -> None:
    made = SiteConfig.of(settings)
    made.write(kit)
    assert SiteConfig.read(kit) == made
    assert made.policy == Policy.of(settings.get("policy", {}))


def test_all_options_are_filled_in_and_the_provider_has_no_examples(kit: Path) -> None:
    made = SiteConfig.of(TEXTS)
    assert made.data.options == {
        "text_column": "text",
        "label_column": "label",
        "group_column": "patient",
        "domain_column": None,
        "provider_shots_per_class": 0,
    }
    assert made.backend.options["model"] == "gpt-4o-mini"
    assert SiteConfig.of(IMAGES).data.options == {"provider_shots_per_class": 0}


def test_paths_mean_the_same_from_anywhere(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path.cwd()
    backend = {"name": "local-vit", "model": "dir:model", "classifier": "head.safetensors"}
    made = SiteConfig.of({**IMAGES, "backend": backend})
    made.write(kit)
    monkeypatch.chdir("/")
    assert SiteConfig.read(kit) == made
    assert made.data.name == f"folder:{home}/images"
    assert made.backend.options["model"] == f"dir:{home}/model"
    assert made.backend.options["classifier"] == f"{home}/head.safetensors"


def test_names_are_no_paths_even_if_there_are_such_files(kit: Path) -> None:
    Path("mnist").mkdir()
    assert SiteConfig.of(IMAGES).backend.options["classifier"] == "mnist"


def test_a_key_is_never_in_the_file(kit: Path) -> None:
    SiteConfig.of(TEXTS).write(kit)
    written = (kit / "site.toml").read_text()
    assert tomllib.loads(written)["backend"]["key_file"] == f"{Path.cwd()}/openai.key"
    assert "sk-secret" not in written


def test_the_server_learns_no_keys_addresses_or_folders(kit: Path) -> None:
    public = SiteConfig.of(TEXTS).public_backend.options
    assert public["model"] == "gpt-4o-mini"
    assert not {"key_file", "key_variable", "base_url"} & set(public)
    backend = {"name": "local-vit", "model": "dir:model", "classifier": "head.safetensors", "device": "cpu"}
    public = SiteConfig.of({**IMAGES, "backend": backend}).public_backend.options
    assert (public["model"], public["classifier"]) == ("dir:model", "head.safetensors")
    assert "device" not in public
    assert str(Path.cwd()) not in str(public)


def test_without_a_backend_one_that_reads_the_data_is_taken(kit: Path) -> None:
    assert SiteConfig.of({"data": {"name": "csv:texts.csv"}}).backend.name == "hf-text"
    assert SiteConfig.of({"data": {"name": "folder:images"}}).backend.name == "local-vit"


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({}, ConfigError, "data are what one site has: folder:PATH, csv:PATH, jsonl:PATH or parquet:PATH, got ''"),
        ({"data": "folder:images"}, ConfigError, "data is a section with its settings, got 'folder:images'"),
        ({"data": {"name": 5}}, ConfigError, "data are what one site has"),
        ({"data": {"name": "digits"}}, ConfigError, "data are what one site has.*got 'digits'"),
        ({"data": {"name": "sites:images"}}, ConfigError, "data are what one site has"),
        ({"data": {"name": "foldr:images"}}, UnknownName, "unknown task 'foldr'. Did you mean 'folder'"),
        ({"data": {"name": "folder:gone"}}, DataError, "there are no data at /.*/home/gone"),
        ({"data": {"name": "folder:images", "colour": 1}}, UnknownName, "unknown option of task .* 'colour'"),
        (
            {"data": {"name": "folder:images", "provider_shots_per_class": 4}},
            ConfigError,
            "a site gives the model no examples; leave out data.provider_shots_per_class",
        ),
        ({**IMAGES, "backends": {}}, UnknownName, "unknown section of a site 'backends'. Did you mean 'backend'"),
        ({**IMAGES, "backend": {"name": "local-vat"}}, UnknownName, "unknown backend 'local-vat'"),
        ({**IMAGES, "backend": {"name": "hf-text"}}, ConfigError, "'hf-text' does not go with images"),
        ({**IMAGES, "backend": {"max_batch": "x"}}, ConfigError, "backend.max_batch: input should be a valid integer"),
        ({**IMAGES, "policy": {"max_queries": -1}}, ConfigError, "policy.max_queries: input should be greater than 0"),
    ],
)
def test_what_is_wrong_is_said(settings: dict[str, Any], kind: type[Exception], message: str, kit: Path) -> None:
    with pytest.raises(kind, match=message):
        SiteConfig.of(settings)


def test_a_file_that_was_changed_by_hand_is_named(kit: Path) -> None:
    SiteConfig.of(IMAGES).write(kit)
    with (kit / "site.toml").open("a") as file:
        file.write("max_query = 5\n")
    with pytest.raises(ConfigError, match=r"site.toml cannot be used: unknown setting of policy 'max_query'"):
        SiteConfig.read(kit)
    (kit / "site.toml").write_text("[data")
    with pytest.raises(ConfigError, match=r"site.toml is not TOML"):
        SiteConfig.read(kit)


def test_data_that_are_gone_are_no_fault_of_the_file(kit: Path) -> None:
    SiteConfig.of(IMAGES).write(kit)
    Path("images").rename("elsewhere")
    with pytest.raises(DataError, match="there are no data at"):
        SiteConfig.read(kit)


def test_a_kit_that_has_not_joined_says_how(kit: Path) -> None:
    with pytest.raises(ConfigError, match=f"has no site.toml yet; fedbbpt federation join {kit} --data"):
        SiteConfig.read(kit)
