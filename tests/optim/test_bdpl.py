"""The estimated gradient against the exact one, and that nothing makes it NaN."""

import numpy as np
import pytest

from fedbbpt.algorithms.calibration import Calibration
from fedbbpt.config.components import resolve
from fedbbpt.errors import ConfigError
from fedbbpt.optim import OptimizerStart, Space
from fedbbpt.optim.bdpl import PARAMETRISATIONS, RAREST, SPAN, Bdpl, clamp_logits, estimate, project_to_simplex

KINDS = ["softmax", "simplex"]
TABLE = np.random.default_rng(0).normal(size=(3, 3))  # the loss of each pair of choices at two places
START = {
    "softmax": np.array([[0.5, -1.0, 0.2], [0.0, 1.0, 0.3]]),
    "simplex": np.array([[0.5, 0.3, 0.2], [0.1, 0.7, 0.2]]),
}


def make(x, choices, kind, seed=0, **options):
    start = OptimizerStart(x, np.random.default_rng(seed), space=Space(choices))
    return Bdpl(start, parametrisation=kind, **options)


def expected(x, kind):
    """The mean loss over all nine pairs, each as likely as x makes it."""
    p = PARAMETRISATIONS[kind].probabilities(x)
    return p[0] @ TABLE @ p[1]


def exact(x, kind, by=1e-5):
    """The gradient of the mean loss by central differences."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = by
        gradient[index] = (expected(x + step, kind) - expected(x - step, kind)) / (2 * by)
    return gradient


def estimates(kind, score, groups=4000, n=20):
    """Many estimates of the gradient (groups, places, choices), from `n` samples each."""
    x = START[kind]
    samples = make(x.ravel(), 3, kind, population_size=groups * n).ask().reshape(groups, n, *x.shape)
    losses = np.einsum("gni,ij,gnj->gn", samples[:, :, 0], TABLE, samples[:, :, 1])
    p = PARAMETRISATIONS[kind].probabilities(PARAMETRISATIONS[kind].project(x))
    return np.array([estimate(sample, loss, p, score) for sample, loss in zip(samples, losses, strict=True)])


def within(gradient):
    """Without what all choices of a place have in common, which no projection onto the simplex sees."""
    return gradient - gradient.mean(-1, keepdims=True)


def errors(found, truth):
    """How many standard errors the mean of estimates is away from the truth, number by number."""
    found = within(found)
    return np.abs(found.mean(0) - within(truth)) / (found.std(0) / np.sqrt(len(found)))


def score_of_the_authors(samples, probabilities):
    return np.where(samples == 1, 1 / probabilities, -1 / probabilities)


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_is_the_exact_gradient_but_for_the_error_of_sampling(kind):
    truth = exact(START[kind], kind)
    assert np.abs(within(truth)).max() > 0.1
    assert errors(estimates(kind, PARAMETRISATIONS[kind].score), truth).max() < 4


def test_the_authors_score_fails_the_same_check_by_a_factor_of_two():
    truth, theirs = exact(START["simplex"], "simplex"), estimates("simplex", score_of_the_authors)
    assert errors(theirs, truth).max() > 20
    assert errors(theirs, 2 * truth).max() < 4
    assert np.allclose(theirs, 2 * estimates("simplex", PARAMETRISATIONS["simplex"].score))


def test_the_authors_score_is_nan_where_a_probability_is_0():
    samples, p = np.eye(3)[[[0], [1]]], np.array([[0.5, 0.5, 0.0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        assert np.isnan(estimate(samples, np.array([0.0, 1.0]), p, score_of_the_authors)).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_single_good_words_are_found_among_fifty_at_ten_places(kind, seed):
    good = np.random.default_rng(seed).integers(0, 50, 10)
    optimizer, calibration = make(np.zeros(500), 50, kind, seed), Calibration()
    for _ in range(100):
        losses = -optimizer.ask().reshape(20, 10, 50)[:, np.arange(10), good].sum(1)
        calibration = calibration.with_initial_spread(losses)
        optimizer.tell(calibration.standardise(losses))
    assert np.array_equal(optimizer.x.reshape(10, 50).argmax(1), good)


@pytest.mark.parametrize("kind", KINDS)
def test_a_learning_rate_changes_equal_probabilities_by_the_same_share(kind):
    optimizer = make(np.zeros(40), 4, kind, seed=1, lr=0.01)
    before = PARAMETRISATIONS[kind].probabilities(PARAMETRISATIONS[kind].project(np.zeros((10, 4))))
    optimizer.ask()
    optimizer.tell(np.arange(20.0) / 5)
    shares = PARAMETRISATIONS[kind].probabilities(optimizer.x.reshape(10, 4)) / before - 1
    other = make(np.zeros(40), 4, "softmax", seed=1, lr=0.01)
    other.ask()
    other.tell(np.arange(20.0) / 5)
    assert np.allclose(shares, PARAMETRISATIONS["softmax"].probabilities(other.x.reshape(10, 4)) * 4 - 1, atol=1e-4)
    assert np.abs(shares).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(50))
def test_nothing_makes_it_nan(kind, seed):
    rng = np.random.default_rng(seed)
    extremes = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0, 1e4, -1e4, 1e308, -1e308, 1e-320])
    start = rng.choice([0.0, 1.0, 1e-30, 50.0, -1e6], 12) * rng.normal(size=12)
    optimizer = make(start, 4, kind, seed, lr=10.0 ** rng.choice([-3, 0, 1, 5, 300]), population_size=6)
    for _ in range(40):
        candidates = optimizer.ask()
        assert (candidates.reshape(6, 3, 4).sum(2) == 1).all()
        assert np.isin(candidates, [0, 1]).all()
        optimizer.tell(rng.choice(extremes, 6) if rng.random() < 0.5 else rng.normal(size=6))
        assert np.isfinite(optimizer.x).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("losses", [[np.nan] * 3, [np.nan, 5.0, np.inf], [2.0, 2.0, 2.0], [2.0, np.nan, 2.0]])
def test_losses_that_say_nothing_leave_x_as_it_is(kind, losses):
    optimizer = make(np.zeros(6), 3, kind, population_size=3)
    optimizer.ask()
    optimizer.tell(np.array(losses))
    assert not optimizer.x.any()


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_drawn_as_often_as_x_says(kind):
    x = START[kind]
    drawn = make(x.ravel(), 3, kind, population_size=20_000).ask().reshape(-1, 2, 3)
    p = PARAMETRISATIONS[kind].probabilities(PARAMETRISATIONS[kind].project(x))
    assert np.abs(drawn.mean(0) - p).max() < 4 * 0.5 / np.sqrt(20_000)
    together = np.einsum("ni,nj->ij", drawn[:, 0], drawn[:, 1]) / len(drawn)
    assert np.abs(together - np.outer(*p)).max() < 4 * 0.5 / np.sqrt(20_000)


def test_zeros_are_equal_probabilities():
    assert np.allclose(project_to_simplex(np.zeros((2, 5))), 0.2)
    assert np.allclose(make(np.zeros(500), 5, "softmax", population_size=4000).ask().mean(0), 0.2, atol=0.03)


def test_no_allowed_point_is_nearer_than_the_projection():
    rng = np.random.default_rng(0)
    least = RAREST / 6
    for x in rng.normal(size=(50, 1, 6)) * 10 ** rng.uniform(-2, 2, (50, 1, 1)):
        found = project_to_simplex(x)
        assert found.sum() == pytest.approx(1)
        assert found.min() >= least - 1e-12
        others = least + (1 - RAREST) * rng.dirichlet(np.full(6, 0.3), 1000)
        assert (np.linalg.norm(others - x, axis=1) >= np.linalg.norm(found - x) - 1e-9).all()
        assert np.allclose(project_to_simplex(found), found)


def test_logits_stay_close_enough_to_be_drawn():
    x = clamp_logits(np.array([[0.0, -50.0, 3.0], [1.0, 1.0, 1.0]]))
    assert x.tolist() == [[0.0, 3.0 - SPAN, 3.0], [1.0, 1.0, 1.0]]


@pytest.mark.parametrize(("dim", "choices"), [(6, 4), (6, 1), (6, 0), (1, 2)])
def test_choices_that_do_not_fit_are_refused(dim, choices):
    with pytest.raises(ValueError, match="at least two choices, and a dimension"):
        make(np.zeros(dim), choices, "softmax")


@pytest.mark.parametrize("option", [{"population_size": 1}, {"lr": 0.0}, {"parametrisation": "logits"}])
def test_options_are_checked(option):
    with pytest.raises(ConfigError, match=rf"optimizer\.{next(iter(option))}"):
        resolve("optimizers", "bdpl", option)
