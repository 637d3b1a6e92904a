"""The Docker files, as far as they can be checked without Docker: what they copy, install and run is there."""

import json
import re
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from fedbbpt.cli import main
from fedbbpt.federation.provisioning import DEFAULT_PORT

ROOT = Path(__file__).parents[1]
DOCKERFILES = [ROOT / "Dockerfile", *sorted((ROOT / "docker").glob("Dockerfile.*"))]
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, as pairs of word and rest."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", path.read_text()))
    pairs = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in pairs]


def arguments(path: Path, word: str) -> list[str]:
    """The rests of all instructions with a word."""
    return [rest for each, rest in instructions(path) if each == word]


def parse(words: list[str]) -> click.Context:
    """Parses a command of fedbbpt as click does, without calling it."""
    assert words[0] == "fedbbpt"
    command, rest = main, words[1:]
    context = click.Context(main)
    while isinstance(command, click.Group):
        _, command, rest = command.resolve_command(context, rest)
    return command.make_context(command.name, rest)


def ids(value: Any) -> str | None:
    return value.name if isinstance(value, Path) else None


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_what_is_copied_is_there_and_is_sent_to_docker(path: Path) -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [source for rest in arguments(path, "COPY") for source in rest.split()[:-1]]
    assert {"fedbbpt", "backends", "benchmarks", "setup.cfg", "pyproject.toml"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists()
        assert any(fnmatch(source, pattern) for pattern in kept)


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_all_that_the_package_is_made_of_is_copied(path: Path) -> None:
    copied = {source for rest in arguments(path, "COPY") for source in rest.split()[:-1]}
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    folders = dict(line.split(" = ") for line in setup["options"]["package_dir"].split("\n") if line)
    for package in setup["options"]["packages"].split():
        top = package.split(".")[0]
        assert folders.get(top, top) in copied
    assert setup["metadata"]["long_description"].removeprefix("file: ") in copied
    for licence in setup["metadata"]["license_files"].split():
        assert licence.split("/")[0] in copied


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_what_is_installed_is_an_extra(path: Path) -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (default,) = [rest.removeprefix("EXTRAS=") for rest in arguments(path, "ARG") if rest.startswith("EXTRAS=")]
    assert set(default.split(",")) <= set(setup["options.extras_require"])
    assert any("/src[${EXTRAS}]" in rest for rest in arguments(path, "RUN"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=ids)
def test_the_command_parses_and_is_not_run_as_root(path: Path) -> None:
    (command,) = arguments(path, "CMD")
    entry_points = [json.loads(each) for each in arguments(path, "ENTRYPOINT")]
    parse([*(word for each in entry_points for word in each), *json.loads(command)])
    words = [word for word, _ in instructions(path)]
    assert arguments(path, "USER")[-1] != "root"
    assert words.index("USER") < words.index("CMD")


@pytest.mark.parametrize("name", COMPOSE)
def test_services_build_run_and_mount_what_there_is(name: str) -> None:
    service = COMPOSE[name]
    assert (ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    file = ROOT / service["build"]["dockerfile"]
    words = service.get("command") or json.loads(arguments(file, "CMD")[0])
    mounted = [volume.removesuffix(":ro").rpartition(":")[2] for volume in service["volumes"]]
    for word in words:
        place = word.removeprefix("folder:")
        if place.startswith("/"):
            assert any(target == place or target.startswith(place + "/") for target in mounted)
    parse(words)
    assert service["user"].startswith("${FEDBBPT_UID:-1000}")
    assert service["cap_drop"] == ["ALL"]


def test_only_the_servers_port_is_published() -> None:
    published = {name: service.get("ports", []) for name, service in COMPOSE.items()}
    assert published == {"server": [f"{DEFAULT_PORT}:{DEFAULT_PORT}"], "site": []}
    assert arguments(ROOT / "docker" / "Dockerfile.server", "EXPOSE") == [str(DEFAULT_PORT)]


def test_the_server_gets_no_key_that_signs_and_no_sites_kit() -> None:
    sources = [volume.rpartition(":/")[0] for volume in COMPOSE["server"]["volumes"]]
    assert not [source for source in sources if source.endswith(("/authority", "/sites", "-../federation}"))]
