"""What a shell proposes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from fedbbpt import registry
from fedbbpt.assets.catalogue import ASSETS
from fedbbpt.cli import main
from fedbbpt.config.presets import SELECTABLE


def proposed(*arguments: str) -> list[str]:
    """What is proposed for the last argument."""
    shell = ShellComplete(main, {}, "fedbbpt", "_FEDBBPT_COMPLETE")
    return [item.value for item in shell.get_completions(list(arguments[:-1]), arguments[-1])]


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (("tr",), ["train"]),
        (("train", "--preset", ""), list(SELECTABLE)),
        (("train", "--task", ""), "tasks"),  # a kind: all of its names
        (("config", "show", "--prompt", "d"), ["dct", "discrete"]),
        (("serve", "--backend", ""), "backends"),
        (("list", ""), list(registry.KINDS)),
        (("list", "engines", ""), "engines"),
        (("list", "nothing", ""), []),
        (("assets", "get", "mn"), [name for name in ASSETS if name.startswith("mn")]),
        (("bench", "--methods", "head,fed-bd"), ["head,fed-bdpl"]),
        (("bench", "--suite", "o"), ["offline"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
    ],
)
def test_names_are_proposed(arguments: tuple[str, ...], values: list[str] | str) -> None:
    assert proposed(*arguments) == (registry.names(values) if isinstance(values, str) else values)


@pytest.mark.parametrize("command", [("eval",), ("predict",), ("train", "--resume")])
def test_folders_of_runs_are_proposed(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for run in ("runs/digits-000", "runs/digits-001", "mine", "runs/unfinished"):
        Path(run).mkdir(parents=True)
        if run != "runs/unfinished":
            Path(run, "config.toml").touch()
    Path("file").touch()
    assert proposed(*command, "") == ["mine", "runs/digits-000", "runs/digits-001"]
    assert proposed(*command, "ru") == proposed(*command, "runs/") == ["runs/digits-000", "runs/digits-001"]
    assert proposed(*command, "runs/digits-001") == ["runs/digits-001"]
    assert proposed(*command, "nowhere/x") == ["nowhere/x"]  # the shell proposes folders


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_the_program(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_FEDBBPT_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_accepts_the_script() -> None:
    script = CliRunner().invoke(main, ["completion", "bash"]).stdout
    done = subprocess.run(["bash", "-c", f"{script}\ncomplete -p fedbbpt"], capture_output=True, text=True, check=True)
    assert "fedbbpt" in done.stdout


def test_a_proposal_imports_nothing_heavy() -> None:
    program = (
        "import sys; from click.shell_completion import ShellComplete; from fedbbpt.cli import main;"
        "assert ShellComplete(main, {}, 'fedbbpt', '').get_completions(['train', '--task'], 'mn');"
        "print([m for m in ('torch', 'transformers', 'timm', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
