"""What every registered optimizer promises."""

from typing import Any

import pytest

from fedbbpt import registry
from fedbbpt.optim.random_search import RandomSearch
from fedbbpt.testing import ContractError, check_optimizer
from fedbbpt.testing.optimizers import OPTIMIZER_CHECKS


@pytest.mark.parametrize("check", OPTIMIZER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", registry.names("optimizers"))
def test_keeps_its_promises(name: str, check: Any, capfd: pytest.CaptureFixture[str]) -> None:
    check(registry.load("optimizers", name))
    assert capfd.readouterr() == ("", "")


class Lazy(RandomSearch):
    """Never moves."""

    def tell(self, losses: Any) -> None:
        self._begin_tell(losses)


class Careless(RandomSearch):
    """Lets ask and tell come as they will."""

    def _begin_ask(self) -> None:
        """Checks nothing."""


@pytest.mark.parametrize(("kind", "promise"), [(Lazy, "x moves"), (Careless, "asking twice is refused")])
def test_what_breaks_a_promise_is_told_which(kind: Any, promise: str) -> None:
    with pytest.raises(ContractError, match=promise):
        check_optimizer(kind)
