"""What setup.cfg promises."""

import configparser
import sys
from pathlib import Path

import pytest

from fedbbpt import registry
from fedbbpt_benchmarks import suite

ROOT = Path(__file__).parents[2]
SOURCES = {"fedbbpt": "fedbbpt", "backends": "fedbbpt_backends", "benchmarks": "fedbbpt_benchmarks"}


@pytest.fixture(scope="module")
def options():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser["options"]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in registry.KINDS for name in registry.names(kind)])
def test_every_entry_point_is_a_documented_class(kind, name):
    component = registry.load(kind, name)
    assert isinstance(component, type)
    assert component.__doc__


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_kind_has_an_entry(kind):
    assert registry.names(kind)


def test_tasks_of_the_suite_register_through_one_entry_point():
    assert set(registry._entries("task_tables", tuple(sys.path))) == {"suite"}
    assert not set(registry._entries("tasks", tuple(sys.path))) & set(suite.TASKS)


def test_every_package_folder_is_installed_and_no_other(options):
    folders = {
        ".".join((SOURCES[source], *file.parent.relative_to(ROOT / source).parts))
        for source in SOURCES
        for file in (ROOT / source).rglob("__init__.py")
    }
    assert folders == set(options["packages"].split())


def test_every_package_outside_its_name_has_a_folder(options):
    folders = dict(line.split(" = ") for line in options["package_dir"].strip().splitlines())
    elsewhere = {package for package in options["packages"].split() if not package.startswith("fedbbpt.")} - {"fedbbpt"}
    assert set(folders) == elsewhere
    for package, folder in folders.items():
        source, *rest = folder.split("/")
        assert package == ".".join((SOURCES[source], *rest))
