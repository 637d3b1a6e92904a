"""What every registered prompt for texts alone promises."""

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.backend import Embeddings
from fedbbpt.config.components import build_prompt, load_class, modalities_of, resolve
from fedbbpt.data.texts import as_texts
from fedbbpt.types import Prompted

REGISTERED = registry.names("prompts")
WRAPPING = [name for name in REGISTERED if load_class("prompts", name).wraps]
ALL = [*(set(REGISTERED) - set(WRAPPING)), *(f"{outer}:discrete" for outer in WRAPPING)]
NAMES = sorted(name for name in ALL if modalities_of(name) == ("text",))
WORDS = {"vocabulary": ["good", "bad", "so so", "film", "plot"], "num_tokens": 4}
OPTIONS = {"discrete": WORDS, "subspace:discrete": WORDS | {"dim": 12}}
pytestmark = pytest.mark.parametrize("name", NAMES)


def make(name):
    return build_prompt(resolve("prompts", name, OPTIONS.get(name, {})), None, Embeddings(16, 0.05))


def texts():
    return as_texts(["a film", "", "  two\nlines, ünd more ", "a film"])


def thetas(prompt, count=3):
    rng = np.random.default_rng(2)
    return np.stack([prompt.init(rng) + rng.normal(size=prompt.dim) for _ in range(count)])


def apply(prompt, theta, inputs):
    return prompt.apply(theta, inputs, prompt.features(inputs))


def parts(prompted):
    """All that a model may read of prompted texts."""
    vectors = [None if one.soft_prompt is None else one.soft_prompt.tolist() for one in prompted]
    return [(one, *worded(one), prefix) for one, prefix in zip(prompted, vectors, strict=True)]


def worded(one):
    return one.prefix, one.text, one.suffix, one.examples


def alike(some, others):
    """Whether a model reads the same, to the last bits of a vector."""
    return len(some) == len(others) and all(
        (a, *worded(a)) == (b, *worded(b))
        and (a.soft_prompt is b.soft_prompt is None or np.allclose(a.soft_prompt, b.soft_prompt, rtol=0, atol=1e-6))
        for a, b in zip(some, others, strict=True)
    )


def test_initial_parameters_are_a_flat_float32_vector(name):
    prompt = make(name)
    theta = prompt.init(np.random.default_rng(0))
    assert theta.shape == (prompt.dim,)
    assert theta.dtype == np.float32
    assert np.array_equal(theta, prompt.init(np.random.default_rng(0)))
    assert prompt.dim % (prompt.choices or 1) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prompted_texts_hold_the_texts_as_they_came(name, dtype):
    prompt = make(name)
    prompted = apply(prompt, (20 * thetas(prompt)).astype(dtype), texts())
    assert prompted.shape == (3 * 4,)
    assert prompted.dtype == object
    assert all(isinstance(one, Prompted) for one in prompted)
    assert [one.text for one in prompted] == 3 * list(texts())
    assert all(one.endswith(one.prefix + one.text + one.suffix) for one in prompted)
    assert all(one.examples or len(one) == len(one.prefix + one.text + one.suffix) for one in prompted)


def test_candidates_come_first_and_texts_do_not_touch_each_other(name):
    prompt, inputs = make(name), texts()
    theta = thetas(prompt)
    singles = [apply(prompt, t[None], inputs[i : i + 1]) for t in theta for i in range(4)]
    assert alike(apply(prompt, theta, inputs), np.concatenate(singles))


def test_features_depend_on_each_text_alone(name):
    prompt, inputs = make(name), texts()
    features = prompt.features(inputs)
    if features is None:
        assert prompt.features(inputs[:1]) is None
    else:
        assert len(features) == 4
        assert features.dtype == np.float32
        assert np.allclose(features[2:3], prompt.features(inputs[2:3]), atol=1e-5)


def test_same_in_same_out_and_nothing_changed(name):
    prompt, inputs = make(name), texts()
    theta = thetas(prompt)
    before = theta.copy()
    first = parts(apply(prompt, theta, inputs))
    assert parts(apply(prompt, theta, inputs)) == first
    assert np.array_equal(theta, before)
    assert list(inputs) == list(texts())
    assert all(type(one) is str for one in inputs)


def test_precision_of_theta_hardly_matters(name):
    prompt = make(name)
    theta = thetas(prompt)
    assert alike(*(apply(prompt, theta.astype(kind), texts()) for kind in (np.float32, np.float64)))


def test_training_starts_from_the_text_itself(name):
    prompt = make(name)
    prompted = apply(prompt, prompt.init(np.random.default_rng(0))[None], texts())
    assert list(prompted) == list(texts())
    embedded = load_class("prompts", name).uses_embeddings  # those start with vectors of zeros
    assert all((one.soft_prompt is None) != embedded for one in prompted)


def test_parameters_change_what_the_model_reads(name):
    prompt = make(name)
    start = apply(prompt, prompt.init(np.random.default_rng(0))[None], texts())
    assert not any(alike(apply(prompt, theta[None], texts()), start) for theta in thetas(prompt))


def test_choices_are_shown_whatever_the_size_of_their_numbers(name):
    prompt = make(name)
    choices = prompt.choices
    if choices:
        drawn = np.random.default_rng(0).integers(0, choices, (6, prompt.dim // choices))
        rows = np.eye(choices)[drawn].reshape(6, -1)
        shown = parts(apply(prompt, rows, texts()))
        assert parts(apply(prompt, 7 * rows - 3, texts())) == shown
        assert parts(apply(prompt, np.where(rows > 0, 1e-3, -1e3), texts())) == shown


def test_modalities_are_known_before_it_is_built(name):
    assert make(name).modalities == modalities_of(name) == ("text",)
