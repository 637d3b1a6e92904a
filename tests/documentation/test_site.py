"""The site is built without a warning, loads nothing from elsewhere, and its references are whole."""

import html
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import fedbbpt
from fedbbpt import registry, testing
from fedbbpt.cli import main
from tests.documentation.pages import ROOT

LOADED = re.compile(r"""<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc="?([^"\s>]+)|<link\b[^>]*>""")
HREF = re.compile(r"""\bhref="?([^"\s>]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def text(site: Path, page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", (site / page).read_text("utf-8")))


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        content = page.read_text("utf-8")
        assert 'class="mermaid"' not in content  # the theme would fetch a script for such a drawing
        for found in LOADED.finditer(content):
            target = found[1] or HREF.search(found[0])[1]
            assert not re.match(r"(?:https?:)?//", target), (page.name, target)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", sheet.read_text("utf-8")), sheet.name


def test_formulas_are_rendered(site: Path) -> None:
    for page in ("estimators.html", "readouts.html", "without-a-server.html"):
        content = (site / page).read_text("utf-8")
        assert 'display="block"' in content
        assert "arithmatex" not in content
        assert "\\frac" not in content


def test_every_command_has_its_options_on_the_page(site: Path) -> None:
    page = text(site, "cli.html")
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        assert f"fedbbpt {name} [OPTIONS]" in page
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[0] in page


def test_every_component_is_on_the_page(site: Path) -> None:
    page = (site / "settings.html").read_text("utf-8")
    for kind in ("backends", "prompts", "readouts", "optimizers", "algorithms", "engines"):
        for name in registry.names(kind):
            if (kind, name) in registry._registered:  # by another test, for its process
                continue
            assert f'id="{kind}-{name}"' in page
    assert 'id="tasks-folder"' in page


def test_all_that_the_package_offers_is_on_the_page(site: Path) -> None:
    page = (site / "api.html").read_text("utf-8")
    for name in {*fedbbpt.__all__} - {"__version__"}:
        assert f'id="fedbbpt.{name}"' in page


def test_every_contract_is_on_the_page(site: Path) -> None:
    page = (site / "api.html").read_text("utf-8")
    for name in testing.__all__:
        if name.startswith("check_"):
            assert f'id="fedbbpt.testing.{name}"' in page
