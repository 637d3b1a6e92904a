"""What a federation costs: what follows from measurements that are made up here, the tables, and the command."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import BaseModel
from rich.console import Console

from fedbbpt.errors import RunError
from fedbbpt.federation.job_folder import TimedRequest, Timing
from fedbbpt.federation.timing import LARGE, SMALL, WARM_UP
from fedbbpt_benchmarks.federation.__main__ import main, sizes_of
from fedbbpt_benchmarks.federation.cores import Cores
from fedbbpt_benchmarks.federation.costs import costs_of, predict, rounds_of, work_of
from fedbbpt_benchmarks.federation.exchanges import Recorded, Rounds
from fedbbpt_benchmarks.federation.overhead import Finished, Overhead
from fedbbpt_benchmarks.federation.parts import part
from fedbbpt_benchmarks.federation.results import Results
from fedbbpt_benchmarks.federation.scale import NETWORKS, round_seconds, server_memory, traffic
from fedbbpt_benchmarks.federation.simulate import Costs, Exchange, Machine, Network, exchange_seconds
from fedbbpt_benchmarks.federation.sites import DEALT, SitesMeasured, new_folder
from fedbbpt_benchmarks.federation.tables import tables

BYTE = 1e-9  # seconds, at either end
FREE = Costs(server=0.0, server_byte=0.0, site=0.0, site_byte=0.0, wait=0.0)


def request(sites: int, seconds: float, handler: str | None = "train", kind: str = "call") -> TimedRequest:
    return TimedRequest(
        kind=kind, handler=handler, at=0.0, seconds=seconds, sites=sites, bytes_down=1000, bytes_up=500 * sites
    )


def measured(sites: int, train: float) -> SitesMeasured:
    """A federation in which an exchange takes 20 ms, of which the processor works 15, and a round a second more."""
    save = request(sites, 0.02, None, "save")
    timing = Timing(
        began=0.0,
        echoes=[0.01] * 10,
        exchanges=[0.02] * 9 + [0.05],
        echoes_at=(0.0, 1.0),
        large_echoes=[0.01 + 4 * BYTE * (LARGE - SMALL)],
        requests=[request(sites, 9.0), save, request(sites, train), save, request(sites, 9.0)],
    )
    pairs = WARM_UP + 10
    processor = {"server": 0.015 * pairs, "site-1": 0.0075 * pairs}  # two thirds of it for our exchanges
    memory = {"server": 10**8 * (2 + sites)}
    return SitesMeasured(sites=sites, joined=20.0, timing=timing, processor=processor, memory=memory)


ROUNDS = Rounds(
    rounds=2,
    exchanges=[Recorded(handler="train", down=100, up=200, seconds=3.0, passes=2, crossed_down=1000, crossed_up=4000)]
    * 2,
    body_share=1 / 3,
)


def test_the_pieces_of_an_exchange_add_up_to_it() -> None:
    costs = costs_of(measured(1, 1.0))
    assert costs.server_byte == costs.site_byte == pytest.approx(BYTE)
    assert costs.server == pytest.approx(0.01 - 2 * SMALL * BYTE)
    assert costs.site == pytest.approx(0.005 - 2 * SMALL * BYTE)
    assert costs.wait == pytest.approx(0.005)
    assert exchange_seconds(Exchange(SMALL, SMALL), 1, costs) == pytest.approx(0.02)


def test_rounds_lie_between_the_first_save_and_the_last() -> None:
    found = rounds_of(measured(1, 1.0).timing.requests)
    assert [(one.kind, one.seconds) for one in found] == [("call", 1.0), ("save", 0.02)]


def test_a_round_of_more_sites_is_predicted_from_the_work_of_one() -> None:
    work = work_of(measured(1, 1.0), FREE)
    assert work == {"train": pytest.approx(1.0), "save": pytest.approx(0.02)}
    prediction = predict(measured(4, 2.0), FREE, work, Machine(2, slowdown=1.25))
    assert prediction.simulated == pytest.approx((1.0 + 0.02) * 2 * 1.25)
    assert prediction.measured == pytest.approx(2.02)
    assert prediction.error == pytest.approx(2.55 / 2.02 - 1)
    assert (prediction.sites, prediction.exchanges) == (4, 2)


def test_what_a_site_sends_is_on_average_of_the_rounds() -> None:
    assert traffic(ROUNDS) == (1, 2, 1100, 4200)


def test_a_round_is_work_at_the_sites_and_passes_through_the_body() -> None:
    network = Network(rate=8e3, latency=0.1)  # a thousand bytes per second
    line, latency, work = (100 + 1000 + 4000 + 200) / 1000, (2 + 2 * 2) * 0.1, 3.0
    assert round_seconds(ROUNDS, 1, FREE, network) == pytest.approx(line + latency + work)
    busy = round_seconds(ROUNDS, 1000, FREE, Network())  # the body takes half a second for each of 2000 passes
    assert busy == pytest.approx(2000 * 0.5, rel=0.01)


def test_memory_lies_on_a_straight_line() -> None:
    assert server_memory([measured(1, 1.0), measured(2, 1.0), measured(4, 1.0)], 1000) == pytest.approx(1002e8)


@pytest.fixture(scope="module")
def results() -> Results:
    run = Finished(seconds=100.0, parameters="ab" * 32, queries=1000, bytes_down=2000, bytes_up=3000, exchanges=40)
    over = Overhead(sites=3, joined=4.0, federation=run.model_copy(update={"seconds": 112.5}), processes=run)
    federations = [measured(1, 1.0), measured(2, 1.1), measured(4, 2.2)]
    return Results(federations, over, Cores(cores=2, alone=2.0, together=2.4), {"default": ROUNDS, "SFPrompt": ROUNDS})


def test_all_figures_are_in_the_json(results: Results) -> None:
    found = json.loads(json.dumps(results.to_json()))
    assert found["latencies"][0] == {
        "sites": 1, "p50": 0.02, "p90": pytest.approx(0.023), "echo_p50": 0.01, "echo_p90": 0.01, "ratio": 2.0,
        "simulated": pytest.approx(0.02),
    }  # fmt: skip
    assert found["overhead"]["seconds"] == 16.5
    assert found["overhead"]["same"] is True
    assert found["cores"]["slowdown"] == pytest.approx(1.2)
    assert [one["sites"] for one in found["predictions"]] == [2, 4]
    assert found["traffic"]["default"] == {"exchanges": 1, "passes": 2, "down": 1100, "up": 4200}
    assert found["seconds"]["SFPrompt"].keys() == NETWORKS.keys()
    assert found["memory_measured"] == {"1": 3e8, "2": 4e8, "4": 6e8}
    assert found["memory_extrapolated"]["100"] == pytest.approx(102e8)


def test_the_tables_are_markdown(results: Results) -> None:
    printed = StringIO()
    for table in tables(results):
        Console(file=printed, width=200).print(table)
    lines = [line.strip() for line in printed.getvalue().splitlines() if line.strip()]
    titles = [line for line in lines if not line.startswith("|")]
    assert len(titles) == 7
    for title, following in zip(titles, [*titles[1:], None], strict=True):
        end = lines.index(following) if following else len(lines)
        head, rule, *rows = lines[lines.index(title) + 1 : end]
        assert set(rule) <= set("|-: ")
        assert rows
        assert {row.count("|") for row in rows} == {head.count("|")} == {rule.count("|")}
    assert "The default run with 3 sites: +16.5 s, results equal" in titles


@pytest.mark.parametrize("changed", [{"parameters": "cd" * 32}, {"queries": 999}, {"bytes_up": 1}, {"exchanges": 41}])
def test_runs_that_differ_are_called_so(results: Results, changed: dict[str, object]) -> None:
    other = results.overhead.federation.model_copy(update=changed)
    assert results.overhead.same
    assert not results.overhead.model_copy(update={"federation": other}).same


class Number(BaseModel):
    value: int


def test_a_part_is_measured_once(tmp_path: Path) -> None:
    def once(value: int) -> Callable[[], Number]:
        return lambda: Number(value=value)

    path = tmp_path / "new" / "a.json"
    assert part(path, Number, once(1)) == part(path, Number, once(2)) == Number(value=1)
    path.write_text("{}")
    with pytest.raises(RunError, match="damaged"):
        part(path, Number, once(3))


def test_sites_beyond_those_that_images_are_dealt_among_hold_the_same_images_again(tmp_path: Path) -> None:
    (tmp_path / "more" / "left-over").mkdir(parents=True)
    data = new_folder(tmp_path, "more", DEALT + 1) / "data"
    names = {site.name: {path.name for path in site.rglob("*.png")} for site in data.iterdir()}
    assert len(names) == DEALT + 1
    assert names["site-1"] == names[f"site-{DEALT + 1}"]
    assert not names["site-1"] & names["site-2"]
    assert not (tmp_path / "more" / "left-over").exists()


@pytest.mark.parametrize(
    ("sites", "says"),
    [
        ("1,two", "--sites takes numbers, separated by commas, such as 1,2,4; not '1,two'"),
        ("2,4", "--sites needs 1"),
        ("1", "--sites needs 1, from which the rest is computed, and others"),
        ("0,1,2", "--sites needs 1"),
        ("1,17", "up to 16"),
    ],
)
def test_sizes_that_cannot_be_measured_are_refused(sites: str, says: str, tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, ["--out", str(tmp_path / "out"), "--sites", sites])
    assert refused.exit_code
    assert says in refused.output
    assert not (tmp_path / "out").exists()


def test_sizes_are_sorted() -> None:
    assert sizes_of("4,1,2,4") == [1, 2, 4]
