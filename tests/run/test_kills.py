"""A run that is killed before or after any operation on a file goes on to the same bits."""

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedbbpt.algorithms.loss_broadcast import LOSSES
from fedbbpt.prompts.dct import Dct
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run import checkpoint, loop
from fedbbpt.testing import toy_client

RUNS = {
    "ensemble": {"algorithm": {"name": "ensemble", "num_prompts": 2}},
    "fedavg": {"tuned": (Dct, LinearReadout), "algorithm": {"name": "fedavg"}},
    "local": {"algorithm": {"name": "local"}},
    "flood": {"tuned": (Dct, LinearReadout), "algorithm": {"name": "flood", "topology": "ring"}},
    "gossip": {"algorithm": {"name": "gossip", "topology": "ring", "gossip_steps": 2}},
}


@contextmanager
def killed_anywhere(folder: Path, into: Path) -> Iterator[list[Path]]:
    """Copies of the folder as a kill before each operation on a file would leave it, each state once.

    A kill after an operation leaves what one before the next does.
    """
    left: list[Path] = []
    seen, looking = set(), []

    def look() -> None:
        if looking or not folder.exists():
            return
        looking.append(True)
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.name != ".lock"}
        state = tuple(sorted((name, path.read_bytes() if path.is_file() else b"") for name, path in files.items()))
        if state not in seen:
            seen.add(state)
            left.append(shutil.copytree(folder, into / f"{len(left):03d}"))
        looking.clear()

    def watched(real):
        def operation(*arguments, **options):
            look()
            return real(*arguments, **options)

        return operation

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "mkdir", "open", "replace", "rmdir", "unlink"):
            patch.setattr(os, name, watched(getattr(os, name)))
        patch.setattr(io, "open", watched(io.open))
        yield left


@pytest.mark.parametrize("name", RUNS)
def test_killed_at_any_operation_it_goes_on_to_the_same_bits(
    run, outcome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(loop, "write_report", lambda *_: None)  # which is drawn from what is there
    settings = RUNS[name] | {"rounds": 2, "clients": [toy_client(f"client-{i:03d}", 3 + i, i) for i in range(2)]}
    whole = tmp_path / "whole"
    with killed_anywhere(whole, tmp_path / "left") as left:
        run(**settings, folder=whole)
    progress, _ = checkpoint.load_last(whole / "checkpoints")
    assert progress is not None
    assert len(progress.clients) == 2
    assert (LOSSES in progress.state.opt_state) == (name == "fedavg")
    assert len(left) > 30
    for folder in left:
        run(**settings, folder=folder)
        assert outcome(folder) == outcome(whole), folder.name
        names = [sorted(str(path.relative_to(one)) for path in one.rglob("*")) for one in (folder, whole)]
        assert names[0] == names[1], folder.name
