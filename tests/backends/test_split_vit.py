"""The vision transformer in parts: the same model, and the same gradients, as the whole one."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fedbbpt.data.digits import Digits
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.types import Parameters
from fedbbpt_backends.local_vit import LocalViT, Network
from fedbbpt_backends.split_vit import SplitViT
from fedbbpt_backends.torchvision_compat import ensure_importable

ensure_importable()
ALL = frozenset({"prompt", "head", "body", "tail", "classifier"})
LABELS = np.array([2, 0, 1], np.int64)
CUTS = [(1, 1), (3, 0), (0, 1)]


def _network(model: str = "embedded", weights: Path | None = None) -> Network:
    return Network(model, weights and str(weights), "float32", "cpu", 512)


def _split(network: Network, head: int = 1, tail: int = 1, **options) -> SplitViT:
    return SplitViT(
        network,
        head_blocks=head,
        tail_blocks=tail,
        **{"num_prompt_tokens": 0, "deep_prompt": False, "num_classes": 3, **options},
    )


def _images(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).random((3, 3, *size), np.float32)


def _parameters(split: SplitViT) -> Parameters:
    """Where no gradient is zero."""
    parameters = dict(split.init(0))
    noise = np.random.default_rng(1).normal(0, 0.1, split.sizes["classifier"])
    return parameters | {"classifier": noise.astype(parameters["classifier"].dtype)}


def _forward(split: SplitViT, parameters: Parameters, images: np.ndarray) -> np.ndarray:
    smashed = split.head(parameters, images, frozenset()).values
    return split.predict(parameters, split.body(parameters, smashed, frozenset()).values)


def _round(split: SplitViT, parameters: Parameters, images: np.ndarray, trained: frozenset[str] = ALL):
    """There and back: losses and the gradients of all parts."""
    head = split.head(parameters, images, trained)
    body = split.body(parameters, head.values, trained)
    judged = split.tail(parameters, body.values, LABELS, trained)
    there = body.vjp(judged.values)
    back = head.vjp(there.values)
    assert back.values is None
    return judged, {**back.gradients, **there.gradients, **judged.gradients}


def _hugging_face(kind: str, folder: Path) -> str:
    """A tiny random model, as Hugging Face saves it."""
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    sizes |= {"image_size": 32, "patch_size": 8, "initializer_range": 0.3}
    torch.manual_seed(0)
    if kind == "clip":
        config = transformers.CLIPVisionConfig(**sizes, projection_dim=12, initializer_factor=2.0)
        net = transformers.CLIPVisionModelWithProjection(config)
    elif kind == "deit":
        net = transformers.DeiTModel(transformers.DeiTConfig(**sizes), add_pooling_layer=False)
    else:
        config = transformers.ViTConfig(**sizes, id2label={0: "a", 1: "b"}, label2id={"a": 0, "b": 1})
        net = transformers.ViTForImageClassification(config)
    net.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.4, 0.5], "image_std": [0.5, 0.3, 0.5]}')
    return f"dir:{folder}"


def _timm(name: str, folder: Path) -> tuple[str, Path]:
    import timm
    from safetensors.torch import save_file

    net = timm.create_model(name, pretrained=False)
    torch.manual_seed(0)
    for parameter in net.parameters():  # new blocks do next to nothing
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    save_file(net.state_dict(), folder / "weights.safetensors")
    return f"timm:{name}", folder / "weights.safetensors"


@pytest.fixture(
    params=[
        "embedded",
        "vit",
        "deit",
        "clip",
        "timm:test_vit",
        "timm:test_vit3",
        "timm:deit_tiny_distilled_patch16_224",
    ]
)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path | None]:
    """Each kind of model that can be cut; of timm's, some that pool in other ways than by a class token."""
    if request.param == "embedded":
        return "embedded", None
    if request.param.startswith("timm:"):
        return _timm(request.param.removeprefix("timm:"), tmp_path)
    return _hugging_face(request.param, tmp_path), None


def _standardised(features: np.ndarray) -> np.ndarray:
    return (features - features.mean(1, keepdims=True)) / np.sqrt(features.var(1, keepdims=True) + 1e-5)


@pytest.mark.parametrize(("head", "tail"), CUTS)
def test_the_parts_are_the_whole(source: tuple[str, Path | None], head: int, tail: int) -> None:
    """A classifier that passes features on, up to a constant: log-probabilities then differ as features do."""
    network = _network(*source)
    images = _images((40, 40))  # resized inside
    features = _standardised(network.features(images))
    width = features.shape[1]
    split = _split(_network(*source), head, tail, num_classes=width)
    passing = np.concatenate([np.eye(width, dtype=np.float32).ravel(), np.zeros(width, np.float32)])
    found = _forward(split, {**split.init(0), "classifier": passing}, images)
    centred = (a - a.mean(1, keepdims=True) for a in (found, features))
    np.testing.assert_allclose(*centred, rtol=1e-5, atol=1e-5 * np.abs(features).max())
    assert features.std() > 1e-3
    assert split.sizes["head"] + split.sizes["body"] + split.sizes["tail"] == sum(
        p.numel() for n, p in network.model.net.named_parameters() if not n.startswith(("head", "classifier"))
    )


@pytest.mark.parametrize("deep", [False, True])
def test_a_prompt_goes_through_every_model(source: tuple[str, Path | None], deep: bool) -> None:
    network = _network(*source)
    split = _split(network, 2, 1, num_prompt_tokens=4, deep_prompt=deep)
    images = _images(network.model.size)
    parameters = _parameters(split)
    bare = _split(_network(*source), 2, 1)
    values, plain = (s.head(_parameters(s), images, frozenset()).values for s in (split, bare))
    assert values.shape == (3, plain.shape[1] + 4, plain.shape[2])
    assert split.sizes["prompt"] == (2 if deep else 1) * 4 * values.shape[2]
    judged, gradients = _round(split, parameters, images)
    assert {part: g.shape for part, g in gradients.items()} == {part: (n,) for part, n in split.sizes.items()}
    assert all(np.isfinite(g).all() and g.any() and g.dtype == np.float32 for g in gradients.values())
    np.testing.assert_allclose(judged.probabilities.sum(1), 1, rtol=1e-5)


def test_features_are_without_the_prompt(tmp_path: Path) -> None:
    """Where features come from all tokens, those of the prompt are no part of them."""
    split = _split(_network(*_timm("test_vit3", tmp_path)), 1, 0, num_prompt_tokens=4)
    parameters = _parameters(split)
    values = np.random.default_rng(3).normal(size=(2, 9, split.sizes["prompt"] // 4)).astype(np.float32)
    others = [values.copy() for _ in range(3)]
    for other, changed in zip(others, (slice(1, 5), slice(0, 1), slice(5, 6)), strict=True):
        other[:, changed] = -other[:, changed]
    expected, same, first, next_ = (split.predict(parameters, x) for x in (values, *others))
    np.testing.assert_array_equal(same, expected)
    assert not np.allclose(first, expected)
    assert not np.allclose(next_, expected)


def _whole(head: int, tail: int, prompt: np.ndarray, classifier: np.ndarray, images: np.ndarray):
    """The same by autograd through the model's own forward, with the prompt put in by hooks; in float64."""
    network = _network()
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
def test_gradients_are_those_of_the_whole(head: int, tail: int, deep: bool) -> None:
    split = _split(_network(), head, tail, num_prompt_tokens=3, deep_prompt=deep, dtype=torch.float64)
    images = _images((70, 70))
    parameters = _parameters(split)
    judged, found = _round(split, parameters, images)
    prompt = parameters["prompt"].reshape(-1, 3, 384)
    losses, expected = _whole(head, tail, prompt, parameters["classifier"], images)
    np.testing.assert_allclose(judged.losses, losses, rtol=1e-10)
    assert judged.losses.dtype == np.float64
    for part, gradient in expected.items():
        assert np.abs(found[part] - gradient).max() <= 1e-6 * np.abs(gradient).max(), part
        assert gradient.any()


def test_gradients_are_the_slopes_of_the_loss() -> None:
    split = _split(_network(), num_prompt_tokens=3, deep_prompt=True, dtype=torch.float64)
    images, parameters = _images((70, 70)), _parameters(split)
    _, gradients = _round(split, parameters, images)
    for part, gradient in gradients.items():
        direction, step = np.random.default_rng(2).normal(size=gradient.shape), 1e-5
        direction /= np.linalg.norm(direction)
        either = (parameters | {part: parameters[part] + sign * step * direction} for sign in (1, -1))
        above, below = (-_forward(split, p, images)[range(3), LABELS].mean() for p in either)
        assert (above - below) / (2 * step) == pytest.approx(gradient @ direction, rel=1e-4, abs=1e-9), part


@pytest.fixture(scope="module")
def split() -> SplitViT:
    return _split(_network(), 2, 1, num_prompt_tokens=3, deep_prompt=True)


def test_only_what_is_trained_comes_back(split: SplitViT) -> None:
    images, parameters = _images((70, 70)), _parameters(split)
    _, complete = _round(split, parameters, images)
    for trained in ({"prompt", "tail", "classifier"}, {"prompt"}, {"head", "body"}):
        _, gradients = _round(split, parameters, images, frozenset(trained))
        assert set(gradients) == trained
        for part, gradient in gradients.items():
            np.testing.assert_allclose(gradient, complete[part], rtol=1e-3, atol=1e-5 * np.abs(complete[part]).max())


@pytest.mark.parametrize("trained", [{"body"}, {"tail", "classifier"}])
def test_nobody_goes_back_further_than_needed(split: SplitViT, trained: set[str]) -> None:
    images, parameters = _images((70, 70)), _parameters(split)
    head = split.head(parameters, images, frozenset(trained))
    assert head.vjp(np.ones_like(head.values)) == (None, {})
    back = split.body(parameters, head.values, frozenset(trained))
    backward = back.vjp(np.ones_like(back.values))
    assert backward.values is None
    assert set(backward.gradients) == trained & {"body"}


def test_the_way_back_is_gone_once(split: SplitViT) -> None:
    passed = split.head(_parameters(split), _images((70, 70)), ALL)
    passed.vjp(np.ones_like(passed.values))
    with pytest.raises(RuntimeError, match="once"):
        passed.vjp(np.ones_like(passed.values))


def test_the_same_call_gives_the_same_bits(split: SplitViT) -> None:
    images, parameters = _images((70, 70)), _parameters(split)
    (one, first), (two, second) = (_round(split, parameters, images) for _ in range(2))
    for a, b in zip(one[:3], two[:3], strict=True):
        np.testing.assert_array_equal(a, b)
    assert set(first) == ALL
    for part, gradient in first.items():
        np.testing.assert_array_equal(gradient, second[part])


def test_later_changes_do_not_reach_the_way_back(split: SplitViT) -> None:
    images, parameters = _images((70, 70)), _parameters(split)
    _, expected = _round(split, parameters, images)
    own = {part: vector.copy() for part, vector in parameters.items()}
    head = split.head(own, images, ALL)
    smashed = head.values.copy()
    body = split.body(own, smashed, ALL)
    judged = split.tail(own, body.values, LABELS, ALL)
    for array in (*own.values(), smashed, head.values, body.values):
        array += 1
    there = body.vjp(judged.values)
    np.testing.assert_array_equal(there.gradients["body"], expected["body"])
    np.testing.assert_array_equal(head.vjp(there.values).gradients["head"], expected["head"])


def test_parameters_come_in_with_each_call(split: SplitViT) -> None:
    images, before = _images((70, 70)), split.init(0)
    pretrained = _forward(split, _parameters(split), images)
    for part in ALL:
        moved = _parameters(split) | {part: _parameters(split)[part] * np.float32(1.5)}
        assert not np.allclose(_forward(split, moved, images), pretrained, atol=1e-5), part
    for part, vector in split.init(0).items():
        np.testing.assert_array_equal(vector, before[part])


def test_what_nobody_can_change_is_read_once(split: SplitViT, monkeypatch: pytest.MonkeyPatch) -> None:
    start, read = split.init(1), []
    values = split.head(start, _images((70, 70)), frozenset()).values
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


def test_what_it_begins_with(split: SplitViT) -> None:
    one, other = split.init(0), split.init(1)
    assert {part: vector.size for part, vector in one.items()} == split.sizes
    assert all(vector.dtype == np.float32 for vector in one.values())
    bound = math.sqrt(6 / (3 * 14 * 14 + 384))
    assert 0.95 * bound < np.abs(one["prompt"]).max() <= bound
    assert not np.array_equal(one["prompt"], other["prompt"])
    np.testing.assert_array_equal(one["head"], other["head"])
    smashed = split.head(one, _images((70, 70)), frozenset()).values
    judged = split.tail(one, split.body(one, smashed, frozenset()).values, LABELS, frozenset())
    np.testing.assert_allclose(judged.losses, math.log(3), rtol=1e-6)
    assert judged.gradients == {}


def test_predictions_are_the_tails(split: SplitViT) -> None:
    images, parameters = _images((70, 70)), _parameters(split)
    judged, _ = _round(split, parameters, images)
    predicted = _forward(split, parameters, images)
    np.testing.assert_allclose(np.exp(predicted), judged.probabilities, rtol=1e-4)
    np.testing.assert_allclose(-predicted[range(3), LABELS], judged.losses, rtol=1e-4)
    assert predicted.std() > 0.01


def test_a_backend_is_not_disturbed() -> None:
    vit = LocalViT(Digits(None).provider, dtype="bfloat16")
    images = _images((70, 70))
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
    features, width = _standardised(_network().features(images)), 384
    passing = np.concatenate([np.eye(10, width, dtype=np.float32).ravel(), np.zeros(10, np.float32)])
    found = _forward(split, {**split.init(0), "classifier": passing}, images)
    centred = (a[:, :10] - a[:, :10].mean(1, keepdims=True) for a in (found, features))
    np.testing.assert_allclose(*centred, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(vit.query(images).scores, scores)


def test_each_side_holds_its_own_parts_alone() -> None:
    """And together they are the model."""
    images, parameters = _images((70, 70)), _parameters(_split(_network()))
    expected = _forward(_split(_network()), parameters, images)
    client, server = (_split(_network(), role=side) for side in ("client", "server"))
    assert set(client.init(0)) == {"prompt", "head", "tail", "classifier"}
    assert {part for part, values in server.init(0).items() if values.size} == {"body", "classifier"}
    assert client.identity == server.identity != _split(_network(), 2, role="server").identity
    there = client.head({**client.init(0), "classifier": parameters["classifier"]}, images, frozenset()).values
    there = server.body({"body": server.init(0)["body"]}, there, frozenset()).values
    np.testing.assert_array_equal(client.predict(parameters, there), expected)
    for split, sizes in ((client, ("head", "tail")), (server, ("body",))):
        held = sum(p.numel() for p in split._wrapper.parameters())
        assert held == sum(split.sizes[part] for part in sizes)


def test_a_backend_that_gave_up_a_part_cannot_be_queried() -> None:
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
        vit.query(_images((70, 70)))


def test_bfloat16_is_near_and_its_gradients_are_float32() -> None:
    exact, short = (
        _split(_network(), num_prompt_tokens=3),
        _split(_network(), num_prompt_tokens=3, dtype=torch.bfloat16),
    )
    parameters, images = _parameters(exact), _images((70, 70))
    (judged, gradients), (near, near_gradients) = (_round(split, parameters, images) for split in (exact, short))
    np.testing.assert_allclose(near.probabilities, judged.probabilities, atol=0.05)
    for part, gradient in gradients.items():
        assert near_gradients[part].dtype == np.float32
        assert near_gradients[part] @ gradient > 0.9 * np.linalg.norm(gradient) * np.linalg.norm(near_gradients[part])


@pytest.mark.parametrize("cut", [{"head": 7, "tail": 1}, {"head": -1, "tail": 1}, {"head": 1, "tail": -1}])
def test_too_few_blocks(cut: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="embedded has 8 blocks"):
        _split(_network(), **cut)


def test_what_is_not_made_of_blocks(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"EfficientNet.* cannot be partitioned"):
        _split(_network(*_timm("test_efficientnet", tmp_path)))


def test_other_kinds_of_blocks(tmp_path: Path) -> None:
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    transformers.Dinov2Model(transformers.Dinov2Config(**sizes)).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"dinov2.* cannot be partitioned"):
        _split(_network(f"dir:{tmp_path}"))
