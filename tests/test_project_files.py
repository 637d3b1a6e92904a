"""What the project says about itself: citation, security, contributing, and what goes into a distribution."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

import fedbbpt
from fedbbpt import testing

ROOT = Path(__file__).parents[1]
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg", "utf-8")


def test_the_citation_is_that_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == fedbbpt.__version__
    assert citation["license"] == SETUP["metadata"]["license"]
    assert citation["authors"] == [{"name": SETUP["metadata"]["author"]}]
    assert set(citation["keywords"]) == set(SETUP["metadata"]["keywords"].strip().split("\n"))


@pytest.mark.parametrize("form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda p: p.stem)
def test_a_form_asks_for_something(form: Path) -> None:
    fields = yaml.safe_load(form.read_text("utf-8"))
    assert {"name", "description", "body"} <= set(fields)
    asked = [field for field in fields["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in asked}) == len(asked) > 0
    assert all(field["attributes"]["label"] for field in asked)
    assert any(field.get("validations", {}).get("required") for field in asked)


def test_contributing_names_every_check() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert {name for name in testing.__all__ if name.startswith("check_")} <= set(re.findall(r"`(check_\w+)`", text))


def test_every_top_level_file_for_readers_is_in_the_source_distribution() -> None:
    manifest = (ROOT / "MANIFEST.in").read_text("utf-8")
    for name in ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md", "Dockerfile", "mkdocs.yml"):
        assert (ROOT / name).is_file()
        assert re.search(rf"\b{re.escape(name)}\b", manifest)
