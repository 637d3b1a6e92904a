"""The exact fit of a federation: L-BFGS at the server, on gradients that the clients' sums add up to.

The federation minimises one function, the cross-entropy over all clients' answers; each evaluation is one exchange of
weights for summed gradients. The result is therefore that of centralised training, however skewed the clients' labels
are, and no client takes a step of its own.
"""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fedbbpt.readouts import AggregateFn
from fedbbpt.types import Floats


class _NoEvaluationLeftError(Exception):
    """The limit is reached."""


def lbfgs(weights: Floats, aggregate: AggregateFn, l2: float, max_evaluations: int) -> NDArray[np.float64]:
    """Minimises mean loss + l2·|weights|²/2; `aggregate` returns count, summed loss and summed gradient.

    Returns the best weights of at most `max_evaluations` evaluations. scipy's own limit waits for the end of a step,
    and a step near the minimum, where clients' sums are exact to 7 digits only, may take 40 of them.
    """
    best: NDArray[np.float64] = np.asarray(weights, np.float64)
    least, done = np.inf, 0

    def mean(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal best, least, done
        if done == max_evaluations:
            raise _NoEvaluationLeftError
        done += 1
        count, loss, *gradient = aggregate(w)
        if count == 0:  # nobody has an answer: stay here
            return 0.0, np.zeros_like(w)
        value = loss / count + l2 / 2 * (w @ w)
        if value < least:
            best, least = w.copy(), value
        return value, np.array(gradient) / count + l2 * w

    options = {"maxcor": 20, "ftol": 1e-5, "gtol": 1e-5}
    with suppress(_NoEvaluationLeftError):
        minimize(mean, best, jac=True, method="L-BFGS-B", options=options)
    return best
