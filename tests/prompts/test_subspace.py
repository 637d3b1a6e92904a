import numpy as np
import pytest

from fedbbpt.errors import ConfigError
from fedbbpt.prompts.coordinator import Coordinator
from fedbbpt.prompts.low_rank import LowRank
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.prompts.padding import Padding
from fedbbpt.prompts.projections import fastfood, gaussian, hadamard
from fedbbpt.prompts.subspace import Subspace

SIZE = (16, 24)
PROJECTIONS = pytest.mark.parametrize("projection", [fastfood, gaussian])


def rng():
    return np.random.default_rng(0)


def signs(count, dim):
    return np.random.default_rng(1).choice(np.array([-1, 1], np.float32), (count, dim))


def matrix(projection, rows, columns):
    """P (rows, columns), explicitly."""
    return projection(rows, columns, rng())(np.eye(columns, dtype=np.float32)).T


@pytest.mark.parametrize("m", [1, 2, 8, 32])
def test_hadamard_is_the_product_with_its_matrix(m):
    h = np.array([[(-1) ** (i & j).bit_count() for j in range(m)] for i in range(m)])
    x = np.random.default_rng(0).normal(size=(3, 2, m)).astype(np.float32)
    assert np.allclose(hadamard(x), x @ h, atol=1e-5)


def test_fastfood_is_its_five_factors():
    m, columns, blocks = 8, 6, 3
    stream = rng()
    b = stream.choice(np.array([-1, 1], np.float32), (blocks, m))
    order = stream.permuted(np.broadcast_to(np.arange(m), (blocks, m)), axis=1)
    g = stream.standard_normal((blocks, m), np.float32)
    chi = np.sqrt(stream.chisquare(m, (blocks, m)))
    h = np.array([[(-1) ** (i & j).bit_count() for j in range(m)] for i in range(m)])
    factors = [
        np.diag(chi[k] / np.linalg.norm(g[k])) @ h @ np.diag(g[k]) @ np.eye(m)[order[k]] @ h @ np.diag(b[k])
        for k in range(blocks)
    ]
    expected = np.concatenate(factors)[:20, :columns] / np.sqrt(m * columns)
    assert np.allclose(matrix(fastfood, 20, columns), expected, atol=1e-5)


@PROJECTIONS
def test_projection_is_linear_and_the_same_every_time(projection):
    z = np.random.default_rng(2).normal(size=(4, 50)).astype(np.float32)
    inside = projection(300, 50, rng())(z)
    assert inside.shape == (4, 300)
    assert inside.dtype == np.float32
    assert np.allclose(inside, z @ matrix(projection, 300, 50).T, atol=1e-4)
    assert np.array_equal(projection(300, 50, rng())(z), inside)
    assert not np.allclose(projection(300, 50, np.random.default_rng(1))(z), inside, atol=0.1)


@PROJECTIONS
@pytest.mark.parametrize(("rows", "columns"), [(2000, 128), (1500, 100), (3000, 500)])
def test_lengths_are_nearly_kept(projection, rows, columns):
    z = np.random.default_rng(1).normal(size=(50, columns)).astype(np.float32)
    stretch = np.linalg.norm(projection(rows, columns, rng())(z), axis=1) / np.linalg.norm(z, axis=1)
    assert (np.abs(stretch / np.sqrt(rows / columns) - 1) < 0.2).all()


@PROJECTIONS
@pytest.mark.parametrize(("rows", "columns"), [(2000, 128), (1500, 70)])
def test_random_signs_move_every_number_inside_by_about_one(projection, rows, columns):
    moved = projection(rows, columns, rng())(signs(1000, columns))
    by_number = np.sqrt((moved**2).mean(0))
    assert np.median(by_number) == pytest.approx(1, abs=0.1)
    assert by_number.min() > 0.5
    assert by_number.max() < 2


@PROJECTIONS
def test_directions_are_independent(projection):
    assert np.linalg.matrix_rank(matrix(projection, 300, 100)) == 100


@pytest.mark.parametrize("projection", ["fastfood", "gaussian"])
def test_it_is_the_inner_prompt_at_its_start_plus_the_projection(projection):
    inner = LowRank(SIZE)  # whose start is not zeros
    prompt = Subspace(SIZE, inner, dim=40, seed=7, projection=projection)
    z = np.random.default_rng(3).normal(size=(2, 40))
    stream = np.random.default_rng(7)
    start = inner.init(stream)
    project = {"fastfood": fastfood, "gaussian": gaussian}[projection](inner.dim, 40, stream)
    inputs = rng().uniform(size=(3, 3, *SIZE)).astype(np.float32)
    expected = inner.apply(start + project(z.astype(np.float32)), inputs, None)
    assert np.allclose(prompt.apply(z, inputs, None), expected, atol=1e-6)
    assert np.abs(expected - np.tile(inputs, (2, 1, 1, 1))).max() > 0.1


def test_seed_decides_the_start_and_the_rng_does_not():
    inner, grey = Coordinator(SIZE, encoder="pixels", decoder_init="random"), np.full((1, 3, *SIZE), 0.5, np.float32)

    def started(seed, stream):
        prompt = Subspace(SIZE, inner, seed=seed)
        return prompt.apply(prompt.init(np.random.default_rng(stream))[None], grey, prompt.features(grey))

    assert np.array_equal(started(0, 1), started(0, 2))
    assert np.abs(started(0, 1) - started(1, 1)).max() > 0.01


def test_features_and_modalities_are_those_of_the_inner_prompt():
    inner = Coordinator(SIZE, encoder="pixels")
    prompt, inputs = Subspace(SIZE, inner), rng().uniform(size=(2, 3, *SIZE)).astype(np.float32)
    assert np.array_equal(prompt.features(inputs), inner.features(inputs))
    assert prompt.modalities == inner.modalities


def test_more_dimensions_than_the_inner_prompt_has_are_refused():
    inner = Padding((8, 8))
    with pytest.raises(ConfigError, match="has only 84 numbers, fewer than dim=85"):
        Subspace((8, 8), inner, dim=85)
    assert Subspace((8, 8), inner, dim=84).dim == 84
    with pytest.raises(ConfigError, match="only 0 numbers"):
        Subspace((8, 8), NoPrompt((8, 8)), dim=1)
