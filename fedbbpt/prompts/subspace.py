"""Another prompt, tuned in a fixed random subspace only (intrinsic dimension: Li et al. 2018, arXiv 1804.08838)."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeInt

from fedbbpt.errors import ConfigError
from fedbbpt.prompts import Prompt
from fedbbpt.prompts.projections import fastfood, gaussian
from fedbbpt.types import Float32, Floats, Inputs, Size


class Subspace(Prompt):
    """Another prompt through a fixed random projection: fewer numbers to tune (subspace:NAME).

    θ of the inner prompt = θ₀ + P z, z the `dim` numbers that are tuned, P (D, dim) and θ₀ drawn from `seed`.

    Random signs for all of z move every number of θ by about 1 (root mean square). The `projection` "fastfood" stores
    no matrix; "gaussian" stores P. All users of a z need the same `seed`. The start z = 0 is θ₀.

    >>> import numpy as np
    >>> from fedbbpt.prompts.padding import Padding
    >>> inner = Padding((16, 16), width=0.25)
    >>> inner.dim, Subspace((16, 16), inner, dim=10).dim
    (576, 10)
    """

    wraps = True

    def __init__(
        self,
        size: Size,
        inner: Prompt,
        /,
        *,
        dim: Annotated[int, Field(gt=0, le=500)] = 128,
        seed: NonNegativeInt = 0,
        projection: Literal["gaussian", "fastfood"] = "fastfood",
    ) -> None:
        if dim > inner.dim:
            raise ConfigError(
                f"prompt 'subspace': the inner prompt has only {inner.dim} numbers, fewer than dim={dim}; choose a "
                f"smaller dim, or that prompt without a subspace"
            )
        rng = np.random.default_rng(seed)
        self.dim = dim
        self.modalities = inner.modalities
        self._inner = inner
        self._start = inner.init(rng)
        self._project = (fastfood if projection == "fastfood" else gaussian)(inner.dim, dim, rng)

    def features(self, inputs: Inputs) -> Float32 | None:
        """Those of the prompt inside."""
        return self._inner.features(inputs)

    def apply(self, theta: Floats, inputs: Inputs, features: Float32 | None) -> Inputs:
        """See `Prompt`."""
        return self._inner.apply(self._start + self._project(theta.astype(np.float32)), inputs, features)
