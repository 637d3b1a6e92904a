"""Gradients of the vision transformer in parts: those of the whole model, as far back as they are wanted."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedbbpt.types import Parameters

Load, Make = Callable[..., Any], Callable[..., Any]
ALL = frozenset({"prompt", "head", "body", "tail", "classifier"})
LABELS = np.array([2, 0, 1], np.int64)


def by_autograd(network: Any, head: int, tail: int, prompt: np.ndarray, classifier: np.ndarray, images: np.ndarray):
    """The same by autograd through the model's own forward, with the prompt put in by hooks; in float64."""
    net = network.model.net.double().requires_grad_(True)
    net.set_attn_implementation("sdpa")  # the eager one rounds to float32
    blocks = [m for m in net.modules() if type(m).__name__ == "ViTLayer"]
    tokens = torch.tensor(prompt, requires_grad=True)
    weights = torch.tensor(classifier, requires_grad=True)

    def putting(i: int) -> Callable:
        def put(block: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x, *rest = args
            after = x[:, 1:] if i == 0 else x[:, 1 + tokens.shape[1] :]
            return (torch.cat([x[:, :1], tokens[i].expand(len(x), -1, -1), after], 1), *rest)

        return put

    for i in range(len(tokens)):
        blocks[i].register_forward_pre_hook(putting(i))
    features = net(network.preprocess(images).double()).last_hidden_state[:, 0]
    width = features.shape[1]
    features = torch.nn.functional.layer_norm(features, (width,))
    logits = features @ weights[: 3 * width].view(3, width).T + weights[3 * width :]
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(LABELS), reduction="none")
    losses.mean().backward()
    place = {id(p): i for i, block in enumerate(blocks) for p in block.parameters()}
    gradients = {"prompt": [tokens.grad], "head": [], "body": [], "tail": [], "classifier": [weights.grad]}
    for name, p in net.named_parameters():
        i = place.get(id(p), -1 if "embeddings" in name else len(blocks))
        gradients["head" if i < head else "body" if i < len(blocks) - tail else "tail"].append(p.grad)
    flat = {part: torch.cat([g.flatten() for g in found]).numpy() for part, found in gradients.items()}
    return losses.detach().numpy(), flat


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(("head", "tail"), [(2, 1), (4, 0), (0, 0)])
def test_gradients_are_those_of_the_whole(
    head: int, tail: int, deep: bool, network: Load, make_split: Make, images: np.ndarray
) -> None:
    split = make_split(head=head, tail=tail, num_prompt_tokens=3, deep_prompt=deep, dtype=torch.float64)
    parameters = split.parameters()
    output, found = split.round_trip(parameters, images)
    prompt = parameters["prompt"].reshape(-1, 3, 384)
    losses, expected = by_autograd(network(), head, tail, prompt, parameters["classifier"], images)
    np.testing.assert_allclose(output.losses, losses, rtol=1e-10)
    assert output.losses.dtype == np.float64
    for part, gradient in expected.items():
        assert np.abs(found[part] - gradient).max() <= 1e-6 * np.abs(gradient).max(), part
        assert gradient.any()


def test_gradients_are_the_slopes_of_the_loss(make_split: Make, images: np.ndarray) -> None:
    split = make_split(num_prompt_tokens=3, deep_prompt=True, dtype=torch.float64)
    parameters = split.parameters()
    _, gradients = split.round_trip(parameters, images)
    for part, gradient in gradients.items():
        direction, step = np.random.default_rng(2).normal(size=gradient.shape), 1e-5
        direction /= np.linalg.norm(direction)
        either = (parameters | {part: parameters[part] + sign * step * direction} for sign in (1, -1))
        above, below = (-split.forward(p, images)[range(3), LABELS].mean() for p in either)
        assert (above - below) / (2 * step) == pytest.approx(gradient @ direction, rel=1e-4, abs=1e-9), part


def test_only_what_is_trained_comes_back(split: Any, images: np.ndarray, parameters: Parameters) -> None:
    _, complete = split.round_trip(parameters, images)
    for trained in ({"prompt", "tail", "classifier"}, {"prompt"}, {"head", "body"}):
        _, gradients = split.round_trip(parameters, images, frozenset(trained))
        assert set(gradients) == trained
        for part, gradient in gradients.items():
            np.testing.assert_allclose(gradient, complete[part], rtol=1e-3, atol=1e-5 * np.abs(complete[part]).max())


@pytest.mark.parametrize("trained", [{"body"}, {"tail", "classifier"}])
def test_nobody_goes_back_further_than_needed(
    split: Any, trained: set[str], images: np.ndarray, parameters: Parameters
) -> None:
    head = split.head(parameters, images, frozenset(trained))
    assert head.vjp(np.ones_like(head.values)) == (None, {})
    body = split.body(parameters, head.values, frozenset(trained))
    backward = body.vjp(np.ones_like(body.values))
    assert backward.values is None
    assert set(backward.gradients) == trained & {"body"}


def test_the_way_back_is_gone_once(split: Any, images: np.ndarray, parameters: Parameters) -> None:
    head = split.head(parameters, images, ALL)
    head.vjp(np.ones_like(head.values))
    with pytest.raises(RuntimeError, match="once"):
        head.vjp(np.ones_like(head.values))


def test_later_changes_do_not_reach_the_way_back(split: Any, images: np.ndarray, parameters: Parameters) -> None:
    _, expected = split.round_trip(parameters, images)
    own = {part: vector.copy() for part, vector in parameters.items()}
    head = split.head(own, images, ALL)
    smashed = head.values.copy()
    body = split.body(own, smashed, ALL)
    output = split.tail(own, body.values, LABELS, ALL)
    for array in (*own.values(), smashed, head.values, body.values):
        array += 1
    backward = body.vjp(output.values)
    np.testing.assert_array_equal(backward.gradients["body"], expected["body"])
    np.testing.assert_array_equal(head.vjp(backward.values).gradients["head"], expected["head"])


def test_bfloat16_is_near_and_its_gradients_are_float32(make_split: Make, images: np.ndarray) -> None:
    exact, short = (make_split(num_prompt_tokens=3, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    parameters = exact.parameters()
    (output, gradients), (near, near_gradients) = (split.round_trip(parameters, images) for split in (exact, short))
    np.testing.assert_allclose(near.probabilities, output.probabilities, atol=0.05)
    for part, gradient in gradients.items():
        assert near_gradients[part].dtype == np.float32
        assert near_gradients[part] @ gradient > 0.9 * np.linalg.norm(gradient) * np.linalg.norm(near_gradients[part])
