"""The bench's controls by chance and its methods of papers."""

import pytest

from fedbbpt.config import make_config
from fedbbpt_benchmarks.bench.plan import Bench, Cell


def bench(task: str = "digits", **settings: object) -> Bench:
    return Bench((task,), ("zero-shot",), (1,), settings)


@pytest.mark.parametrize(("method", "control"), [("best", "random-views"), ("default", "random-prompt")])
def test_chance_differs_in_the_selection_alone(method: str, control: str) -> None:
    ours, chance = (bench().config(Cell("digits", name, 1)).to_settings() for name in (method, control))
    assert chance["algorithm"].pop("selection") == "random"
    assert ours["algorithm"].pop("selection") == "greedy"
    assert chance == ours


def test_chance_draws_instructions_for_a_language_model() -> None:
    one = bench("spam", backend={"model": "smollm2"})
    ours, chance = (one.config(Cell("spam", name, 1)).to_settings() for name in ("instructions", "random-instructions"))
    assert chance["algorithm"] == ours["algorithm"] | {"selection": "random"}
    assert {**chance, "algorithm": None} == {**ours, "algorithm": None}


@pytest.mark.parametrize("name", ["fed-bbpt", "blackvip"])
def test_methods_of_papers_are_the_presets(name: str) -> None:
    assert bench().config(Cell("digits", name, 1)) == make_config({"patience": 0}, name)
