"""Checkpoints are written whole or not at all, come back bit for bit, and give way to newer ones."""

import errno
import os
import re
from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.errors import RunError
from fedbbpt.run.checkpoint import load_last, save, tidy


def names(folder):
    return {file.name for file in folder.iterdir()}


def files_of(*rounds):
    return {f"round-{round_:06d}.{end}" for round_ in rounds for end in ("json", "safetensors")}


@pytest.fixture
def break_disk(monkeypatch):
    """`break_disk("fsync", errno.ENOSPC, after=1)`: the second call of os.fsync fails."""

    def make(function, number, after=0):
        real, left = getattr(os, function), [after]

        def failing(*args, **kwargs):
            if left[0] == 0:
                raise OSError(number, os.strerror(number))
            left[0] -= 1
            return real(*args, **kwargs)

        monkeypatch.setattr(os, function, failing)

    return make


class TestLoad:
    def test_comes_back_bit_for_bit(self, checkpoints, progress, contents):
        found, damaged = load_last(checkpoints)
        assert contents(found) == contents(progress(2))
        assert damaged == []

    def test_parameters_with_a_path_for_a_name_come_back(self, tmp_path, progress, contents):
        parameters = {"client-000/opt_state/lowest": np.ones(1, np.float32), "prompt": np.zeros(2, np.float32)}
        saved = replace(progress(1), state=replace(progress(1).state, parameters=parameters, opt_state={}))
        save(tmp_path, saved)
        assert contents(load_last(tmp_path)[0]) == contents(saved)

    def test_the_loss_of_a_model_without_answers_comes_back(self, tmp_path, progress):
        best = replace(progress(1).best, round=0, loss=np.nan, start_loss=np.nan)
        save(tmp_path, replace(progress(1), best=best))
        assert np.isnan(load_last(tmp_path)[0].best.loss)

    def test_no_checkpoint_is_no_progress(self, tmp_path):
        assert load_last(tmp_path) == (None, [])

    def test_leftovers_of_a_killed_write_are_passed_over(self, checkpoints, progress, contents):
        (checkpoints / ".round-000003.json.tmp").write_bytes(b"{")
        (checkpoints / "round-000003.safetensors").write_bytes(b"half")
        assert contents(load_last(checkpoints)[0]) == contents(progress(2))


class TestTidy:
    def test_the_last_two_remain(self, checkpoints, progress):
        for round_ in (3, 4, 10):
            save(checkpoints, progress(round_))
        assert names(checkpoints) == files_of(4, 10)

    def test_saving_a_round_again_replaces_it(self, checkpoints, progress, contents):
        save(checkpoints, progress(2))
        assert contents(load_last(checkpoints)[0]) == contents(progress(2))

    @pytest.mark.parametrize(("last", "remain"), [(2, [2]), (3, [2, 3])])
    def test_halves_and_old_and_later_ones_are_removed(self, checkpoints, progress, last, remain):
        save(checkpoints, progress(3))
        for name in ("round-000000.json", "round-000001.safetensors", "round-000009.json", "round-000009.safetensors"):
            (checkpoints / name).write_bytes(b"left")
        (checkpoints / "notes.txt").write_bytes(b"somebody's own")
        tidy(checkpoints, last)
        assert names(checkpoints) == {"notes.txt"} | files_of(*remain)


class TestFailedWrite:
    @pytest.mark.parametrize(
        ("function", "after"), [("fsync", 0), ("fsync", 1), ("fsync", 2), ("replace", 0), ("replace", 1)]
    )
    def test_leaves_what_was_there(self, checkpoints, progress, contents, break_disk, function, after):
        break_disk(function, errno.EIO, after)
        with pytest.raises(RunError, match="cannot write"):
            save(checkpoints, progress(3))
        found, damaged = load_last(checkpoints)
        assert contents(found) == contents(progress(2))
        assert damaged == []
        assert not [name for name in names(checkpoints) if name.endswith(".tmp")]

    @pytest.mark.parametrize(
        ("number", "hint"),
        [
            (errno.ENOSPC, "disk is full.*--resume"),
            (errno.EDQUOT, "quota.*--resume"),
            (errno.EROFS, "read-only.*--out"),
            (errno.EIO, re.escape(os.strerror(errno.EIO).lower())),
        ],
    )
    def test_the_error_says_what_is_wrong_with_the_disk(self, checkpoints, progress, break_disk, number, hint):
        break_disk("fsync", number)
        with pytest.raises(RunError, match=hint):
            save(checkpoints, progress(3))

    def test_the_run_can_go_on_afterwards(self, checkpoints, progress, contents, break_disk, monkeypatch):
        break_disk("fsync", errno.ENOSPC, after=1)
        with pytest.raises(RunError):
            save(checkpoints, progress(3))
        monkeypatch.undo()
        save(checkpoints, progress(3))
        assert contents(load_last(checkpoints)[0]) == contents(progress(3))

    def test_a_folder_that_is_gone_is_an_error(self, tmp_path, progress):
        with pytest.raises(RunError, match="cannot write"):
            save(tmp_path / "gone" / "checkpoints", progress(1))
