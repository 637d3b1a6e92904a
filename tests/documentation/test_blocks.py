"""Every block of code on every page: its commands and programs run, or are read as far as they can be without a run.

How a block is tested follows from its language, and, for a command, from its first words (`ways`):

| block | test |
|---|---|
| `bash` | every command runs, in the order of the page, in a folder that holds what it names |
| `python` | all blocks of a page run as one program |
| `toml` | is TOML |
| `math` | is rendered when the site is built |
| `text` | needs a key, hours, another machine or a value of yours: its fedbbpt commands are parsed, options and all |

A block in another language, and a command that nobody has decided about, fails.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from fedbbpt.cli import main
from fedbbpt.commands.settings import settings_of
from fedbbpt.config import make_config
from tests.documentation.pages import PAGES, ROOT, Block, blocks

ALL = [block for page in PAGES for block in blocks(page)]
LANGUAGES = {"bash", "python", "toml", "math", "text"}
IN_CI = {"pytest ./fedbbpt/tests", "fedbbpt federation demo", "fedbbpt federation demo --topology ring"}
SMALL = [*("--rounds", "1"), *("-o", "data.test_limit=20"), *("-o", "data.shots_per_class=4")]
OWN_SIZE = "--config"  # a file has its own sizes
ELSEWHERE = {"--resume", "--config", "--federation", "sites", "acme"}  # settings that are not all in the command


def of(language: str) -> list[Block]:
    return [block for block in ALL if block.language == language]


def pages_with(language: str) -> list[str]:
    return sorted({block.page for block in of(language)})


def commands(content: str) -> list[str]:
    """The commands of a block, without comments and prompts."""
    joined = re.sub(r"\\\n\s*", " ", content)
    lines = (re.sub(r"\s+#.*", "", line).strip() for line in joined.splitlines())
    return [command.strip() for line in lines if line and line[0] != "#" for command in line.split(" && ")]


def run(command: str) -> None:
    """Runs a command as far as a test can."""
    words = shlex.split(command)
    if command in IN_CI:
        assert words[0] == "pytest" or parse(words)
    elif words[:2] == ["pip", "install"]:
        check_extras(words[2])
    elif words[0] == "fedbbpt":
        sizes = SMALL if words[1] == "train" and not {"--dry-run", OWN_SIZE} & {*words} else []
        result = CliRunner().invoke(main, [*words[1:], *sizes])
        assert result.exit_code == 0, (command, result.output, result.exception)
    elif words[:2] == ["python", "-m"]:
        done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)
    else:
        pytest.fail(f"decide how this command is tested: {command}")


def check_extras(target: str) -> None:
    """The package is that of the checkout, and the extras exist."""
    found = re.fullmatch(r"\./fedbbpt\[([\w,]+)\]", target)
    assert found, target
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    assert set(found[1].split(",")) <= set(setup["options.extras_require"])


def parse(words: list[str]) -> click.Context:
    """Parses a command of fedbbpt as click does, without calling it."""
    command, rest = main, words[1:]
    context = click.Context(main)
    while isinstance(command, click.Group):
        _, command, rest = command.resolve_command(context, rest)
    return command.make_context(command.name, rest)


@pytest.mark.parametrize("block", ALL, ids=lambda block: f"{block.page}:{block.line}")
def test_somebody_has_decided_how_a_block_is_tested(block: Block) -> None:
    assert block.language in LANGUAGES


@pytest.mark.parametrize("page", pages_with("bash"))
def test_commands_run(page: str, workspace: Path) -> None:
    for block in of("bash"):
        if block.page == page:
            for command in commands(block.content):
                run(command)


@pytest.mark.parametrize("page", pages_with("python"))
def test_programs_run(page: str, workspace: Path) -> None:
    from tests.documentation.conftest import reviews

    texts, labels, _ = (list(column) for column in zip(*reviews(), strict=True))
    names: dict[str, Any] = {"texts": texts, "labels": labels, "__name__": page}
    for block in of("python"):
        if block.page == page:
            exec(compile(block.content, f"{page}:{block.line}", "exec"), names)


@pytest.mark.parametrize("block", of("toml"), ids=lambda block: f"{block.page}:{block.line}")
def test_toml_is_toml(block: Block) -> None:
    assert tomllib.loads(block.content)


TEXTS = [
    pytest.param(command, id=f"{block.page}:{block.line} {command}")
    for block in of("text")
    for command in commands(block.content)
    if command.startswith("fedbbpt ")
]


@pytest.mark.parametrize("command", TEXTS)
def test_commands_that_cannot_run_here_are_right(command: str) -> None:
    context = parse(shlex.split(command))
    given = context.params
    if context.info_name == "train" and not ELSEWHERE & {*re.split(r"[ :]", command)}:
        assert make_config(settings_of(given), given["preset"])
    if context.info_name == "bench":
        from fedbbpt_benchmarks.bench.plan import SUITES, method

        assert given["suite"] in (None, *SUITES)
        assert all(method(name) for name in given["methods"] or ())
