"""Provider heads from files."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.numpy import save_file

from fedbbpt.errors import BackendError, UnknownName
from fedbbpt_backends.heads import load_head


def saved(folder: Path, classes: str | None) -> str:
    path = folder / "head.safetensors"
    tensors = {"weight": np.ones((3, 4), np.float32), "bias": np.zeros(3, np.float32)}
    save_file(tensors, path, None if classes is None else {"classes": classes})
    return str(path)


@pytest.mark.parametrize(("classes", "names"), [(None, ("0", "1", "2")), ('["a", "b", "ü"]', ("a", "b", "ü"))])
def test_names_of_classes(classes: str | None, names: tuple[str, ...], tmp_path: Path) -> None:
    head = load_head(saved(tmp_path, classes), 4)
    assert head.classes == names
    assert head.weight.shape == (3, 4)


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        ("5", "JSON list of 3 different names"),
        ('["a", "b"]', "JSON list of 3 different names"),
        ('["a", "b", "a"]', "JSON list of 3 different names"),
        ('["a", "b", 3]', "JSON list of 3 different names"),
        ('"abc"', "JSON list of 3 different names"),
        ('["a", "b", "\\ud83d"]', "not a provider head"),
        ("[" * 10**5, "not a provider head .*: recursion limit"),
        ("9" * 5000, "not a provider head .*: number out of range"),
        ("a, b, c", "not a provider head"),
    ],
)
def test_names_of_classes_that_are_none(classes: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=reason):
        load_head(saved(tmp_path, classes), 4)


def test_numbers_that_numpy_does_not_have(tmp_path: Path) -> None:
    tensors = {"weight": torch.ones(3, 4, dtype=torch.bfloat16), "bias": torch.zeros(3)}
    safetensors.torch.save_file(tensors, tmp_path / "head.safetensors")
    with pytest.raises(BackendError, match=r"not a provider head .*weight holds BF16, and F16, F32, F64 are read"):
        load_head(str(tmp_path / "head.safetensors"), 4)


@pytest.mark.parametrize("name", ["nowhere.safetensors", "n" * 300])
def test_no_such_head(name: str) -> None:
    with pytest.raises(UnknownName, match="unknown head"):
        load_head(name, 4)
