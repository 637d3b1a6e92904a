"""`fedbbpt export`, and the commands that take its folder. The hub is a stand-in: nothing is uploaded."""

from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest

pytestmark = pytest.mark.usefixtures("backends")

Cli = Callable[..., "subprocess.CompletedProcess[str]"]  # noqa: F821


class Hub:
    """What `HfApi` is asked for."""

    asked: list[tuple[str, dict]] = []  # noqa: RUF012 - one for all, as the class stands in for the library's

    def create_repo(self, name: str, **options):
        self.asked.append((name, options))
        return f"https://hub.test/{name}"

    def upload_folder(self, **options):
        self.asked.append((options["repo_id"], options))
        if "busy" in options["repo_id"]:
            raise ConnectionError("busy\nnow")


def test_it_is_written_pushed_and_predicted_with(
    in_process: Cli, image_run: Path, tmp_path: Path, monkeypatch, pictures
) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    out = tmp_path / "exported"
    said = in_process("export", image_run, out, "--push", "me/colours", check=True).stdout.splitlines()
    assert [line.split()[0] for line in said[:-1]] == [*sorted(file.name for file in out.iterdir()), "canaries"]
    assert said[-1] == "https://hub.test/me/colours"
    assert Hub.asked[0] == ("me/colours", {"private": True, "exist_ok": True})
    assert Hub.asked[1][1]["folder_path"] == out
    pictures[0][0].save(tmp_path / "one.png")
    assert "\tred\t" in in_process("predict", out, tmp_path / "one.png", check=True).stdout


def test_what_the_hub_refuses_is_one_sentence(in_process: Cli, image_run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    refused = in_process("export", image_run, tmp_path / "a", "--push", "me/busy", "--public")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "cannot be uploaded (busy now); " in refused.stderr
    assert (tmp_path / "a" / "config.json").exists()
    assert "OWNER/NAME" in in_process("export", image_run, tmp_path / "b", "--push", "mine").stderr
    assert "--public is for" in in_process("export", image_run, tmp_path / "c", "--public").stderr


def test_a_model_that_has_changed_needs_a_word(in_process: Cli, image_run: Path, tmp_path: Path, pictures) -> None:
    pictures[0][0].save(tmp_path / "one.png")
    in_process("export", image_run, tmp_path / "a", check=True)
    changed = ("-o", "strength=40.0")
    assert "no longer answers" in in_process("predict", tmp_path / "a", tmp_path / "one.png", *changed).stderr
    assert in_process("predict", tmp_path / "a", tmp_path / "one.png", *changed, "--no-check").returncode == 0
