"""The contract of optimizers: ask and tell take turns, losses alone decide, and a round hands its state to the next.

def test_my_optimizer():
    check_optimizer(MyOptimizer, learning_rate=0.1)
"""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fedbbpt.optim import Optimizer
from fedbbpt.testing.bowl import ONES, bowl, exact, make, steps
from fedbbpt.testing.descent import check_minimises, check_missing_losses, check_replay, check_state
from fedbbpt.testing.expect import expect, refused


def check_optimizer(kind: type[Optimizer], **options: Any) -> None:
    """Checks all promises of `Optimizer`. A categorical one gets as few choices at a place as the dimension allows.

    Args:
        kind: the class.
        options: those of its options that are not to have their defaults.

    Raises:
        ContractError: a promise is broken; says which.
    """
    for check in OPTIMIZER_CHECKS:
        check(kind, **options)


def check_shapes(kind: type[Optimizer], **options: Any) -> None:
    """`ask` gives (n, d), x is (d,) and begins at the start; all in float64."""
    expect(Optimizer in kind.__mro__, "the class derives from Optimizer")
    start = np.arange(4.0)
    optimizer = make(kind, start, **options)
    expect(np.array_equal(optimizer.x, start), "x begins at the start's x")
    optimizer = make(kind, np.zeros(5, np.float32), **options)
    candidates = optimizer.ask()
    expect(candidates.shape == (optimizer.population_size, 5), "ask gives candidates (population_size, d)")
    expect(optimizer.x.shape == (5,), "x is of shape (d,)")
    expect(candidates.dtype == optimizer.x.dtype == np.float64, "candidates and x are float64")


def check_turns(kind: type[Optimizer], **options: Any) -> None:
    """Asking twice, telling unasked and telling anything but (n,) losses are refused."""
    optimizer = make(kind, np.zeros(3), **options)
    losses = np.arange(float(optimizer.population_size))
    with refused(RuntimeError, "telling unasked is refused", "tell"):
        optimizer.tell(losses)
    optimizer.ask()
    with refused(RuntimeError, "asking twice is refused", "ask"):
        optimizer.ask()
    for shape in ((len(losses) + 1,), (len(losses) - 1,), (len(losses), 1)):
        with refused(ValueError, f"losses of shape {shape} are refused", f"({len(losses)},)"):
            optimizer.tell(np.zeros(shape))
    optimizer.tell(losses)
    with refused(RuntimeError, "telling twice is refused", "tell"):
        optimizer.tell(losses)


def check_arrays(kind: type[Optimizer], **options: Any) -> None:
    """Arrays that are passed in or handed out are never changed, and later changes to them have no effect."""
    start = np.arange(6.0)
    state = make(kind, start, **options).state
    kept = state.copy()
    optimizer = make(kind, start, state=state, **options)
    for losses in (np.arange(float(optimizer.population_size)), np.full(optimizer.population_size, np.nan)):
        candidates = optimizer.ask()
        copies = candidates.copy(), losses.copy()
        optimizer.tell(losses)
        expect(np.array_equal(candidates, copies[0]), "candidates stay as they were")
        expect(np.array_equal(losses, copies[1], equal_nan=True), "losses stay as they were")
    expect(np.array_equal(start, np.arange(6.0)) and np.array_equal(state, kept), "the start stays as it was")
    changed, state = ONES.copy(), make(kind, ONES, **options).state
    honest, meddled = make(kind, ONES, **options), make(kind, changed, state=state, **options)
    changed[:], state[:] = 99, 99
    losses = bowl(honest.ask())
    meddled.ask()[:] = 99
    honest.tell(losses)
    meddled.tell(losses)
    expect(np.array_equal(honest.x, meddled.x), "changes to the start and to candidates have no effect")
    x, state = honest.x, honest.state
    copies = x.copy(), state.copy()
    expect(not np.array_equal(steps(honest, 3), copies[0]), "x moves")
    expect(np.array_equal(x, copies[0]) and np.array_equal(state, copies[1]), "x and state, handed out, stay")


def check_side_effects(kind: type[Optimizer], **options: Any) -> None:
    """NumPy's global random numbers are left alone, and no file is written."""
    before: Any = np.random.get_state()
    with TemporaryDirectory() as folder, chdir(folder):
        steps(make(kind, ONES, **options), 5)
        expect(not list(Path(folder).iterdir()), "no file is written")
    after: Any = np.random.get_state()
    same = np.array_equal(before[1], after[1]) and before[2:] == after[2:]
    expect(same, "all random numbers come from the start's generator")


def check_level(kind: type[Optimizer], **options: Any) -> None:
    """Only differences between the losses of one ask count."""
    low, high = make(kind, ONES, **options), make(kind, ONES, **options)
    for shift in np.random.default_rng(0).integers(-1000, 1000, 10):
        low.tell(exact(low.ask()))
        high.tell(exact(high.ask()) + float(shift))
    same = np.array_equal(low.x, high.x) and np.array_equal(low.state, high.state)
    expect(same, "adding a number to all losses of an ask changes nothing")


def check_one_dimension(kind: type[Optimizer], **options: Any) -> None:
    """One dimension works, or is refused with a reason."""
    try:
        optimizer = make(kind, np.full(1, 5.0), **options)
    except ValueError as e:
        expect("dimension" in str(e), f"one dimension is refused with a reason, not with {str(e)!r}")
    else:
        expect(abs(steps(optimizer, 100)[0]) < 5, "one dimension is minimised, too")


OPTIMIZER_CHECKS = (
    check_shapes,
    check_turns,
    check_arrays,
    check_side_effects,
    check_level,
    check_one_dimension,
    check_replay,
    check_missing_losses,
    check_state,
    check_minimises,
)
