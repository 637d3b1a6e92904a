"""The vision transformer in parts: its parameters, what it predicts, and who holds which part."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import layer_norm

from fedbbpt.data.digits import Digits
from fedbbpt.errors import BackendError
from fedbbpt.types import Parameters
from fedbbpt_backends.local_vit import LocalViT
from fedbbpt_backends.split_vit import SplitViT

Load, Make = Callable[..., Any], Callable[..., Any]
ALL = frozenset({"prompt", "head", "body", "tail", "classifier"})
LABELS = np.array([2, 0, 1], np.int64)


def test_the_same_call_gives_the_same_bits(split: Any, images: np.ndarray, parameters: Parameters) -> None:
    (one, first), (two, second) = (split.round_trip(parameters, images) for _ in range(2))
    for a, b in zip(one[:3], two[:3], strict=True):
        np.testing.assert_array_equal(a, b)
    assert set(first) == ALL
    for part, gradient in first.items():
        np.testing.assert_array_equal(gradient, second[part])


def test_parameters_come_in_with_each_call(split: Any, images: np.ndarray, parameters: Parameters) -> None:
    before = split.init(0)
    pretrained = split.forward(parameters, images)
    for part in ALL:
        moved = parameters | {part: parameters[part] * np.float32(1.5)}
        assert not np.allclose(split.forward(moved, images), pretrained, atol=1e-5), part
    for part, vector in split.init(0).items():
        np.testing.assert_array_equal(vector, before[part])


def test_what_nobody_can_change_is_read_once(split: Any, monkeypatch: pytest.MonkeyPatch, images: np.ndarray) -> None:
    start, read = split.init(1), []
    values = split.head(start, images, frozenset()).values
    tensor = SplitViT._tensor
    monkeypatch.setattr(SplitViT, "_tensor", lambda self, v, *kind: read.append(v.size) or tensor(self, v, *kind))
    calls = [split.body(start, values, frozenset()).values for _ in range(3)]
    assert read == [split.sizes["body"], values.size, values.size, values.size]
    read.clear()
    changed = start["body"].copy()
    calls.append(split.body({**start, "body": changed}, values, frozenset()).values)
    changed += 1
    other = split.body({**start, "body": changed}, values, frozenset()).values
    assert read == [split.sizes["body"], values.size] * 2
    assert all(np.array_equal(one, calls[0]) for one in calls)
    assert not np.array_equal(other, calls[0])


def test_what_it_begins_with(split: Any, images: np.ndarray) -> None:
    one, other = split.init(0), split.init(1)
    assert {part: vector.size for part, vector in one.items()} == split.sizes
    assert all(vector.dtype == np.float32 for vector in one.values())
    bound = math.sqrt(6 / (3 * 14 * 14 + 384))
    assert 0.95 * bound < np.abs(one["prompt"]).max() <= bound
    assert not np.array_equal(one["prompt"], other["prompt"])
    np.testing.assert_array_equal(one["head"], other["head"])
    smashed = split.head(one, images, frozenset()).values
    output = split.tail(one, split.body(one, smashed, frozenset()).values, LABELS, frozenset())
    np.testing.assert_allclose(output.losses, math.log(3), rtol=1e-6)
    assert output.gradients == {}


def test_predictions_are_the_tails(split: Any, images: np.ndarray, parameters: Parameters) -> None:
    output, _ = split.round_trip(parameters, images)
    predicted = split.forward(parameters, images)
    np.testing.assert_allclose(np.exp(predicted), output.probabilities, rtol=1e-4)
    np.testing.assert_allclose(-predicted[range(3), LABELS], output.losses, rtol=1e-4)
    assert predicted.std() > 0.01


def test_a_backend_is_not_disturbed(network: Load, images: np.ndarray) -> None:
    vit = LocalViT(Digits(None).provider, dtype="bfloat16")
    scores = vit.query(images).scores
    split = vit.partition_model(
        head_blocks=2,
        tail_blocks=1,
        num_prompt_tokens=0,
        deep_prompt=False,
        num_classes=10,
        dtype="float32",
        role="all",
    )
    features, width = layer_norm(torch.from_numpy(network().features(images)), (384,)).numpy(), 384
    passing = np.concatenate([np.eye(10, width, dtype=np.float32).ravel(), np.zeros(10, np.float32)])
    parameters = {**split.init(0), "classifier": passing}
    values = split.body(parameters, split.head(parameters, images, frozenset()).values, frozenset()).values
    found = split.predict(parameters, values)
    centred = (a[:, :10] - a[:, :10].mean(1, keepdims=True) for a in (found, features))
    np.testing.assert_allclose(*centred, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(vit.query(images).scores, scores)


def test_each_side_holds_its_own_parts_alone(make_split: Make, images: np.ndarray) -> None:
    """And together they are the model."""
    parameters = make_split().parameters()
    expected = make_split().forward(parameters, images)
    client, server = (make_split(role=side) for side in ("client", "server"))
    assert set(client.init(0)) == {"prompt", "head", "tail", "classifier"}
    assert {part for part, vector in server.init(0).items() if vector.size} == {"body", "classifier"}
    assert client.identity == server.identity != make_split(head=2, role="server").identity
    values = client.head({**client.init(0), "classifier": parameters["classifier"]}, images, frozenset()).values
    values = server.body({"body": server.init(0)["body"]}, values, frozenset()).values
    np.testing.assert_array_equal(client.predict(parameters, values), expected)
    for split, sizes in ((client, ("head", "tail")), (server, ("body",))):
        held = sum(p.numel() for p in split._wrapper.parameters())
        assert held == sum(split.sizes[part] for part in sizes)


def test_a_backend_that_gave_up_a_part_cannot_be_queried(images: np.ndarray) -> None:
    vit = LocalViT(Digits(None).provider)
    vit.partition_model(
        head_blocks=1,
        tail_blocks=1,
        num_prompt_tokens=0,
        deep_prompt=False,
        num_classes=10,
        dtype="float32",
        role="client",
    )
    with pytest.raises(BackendError, match="only a part of the model"):
        vit.query(images)
