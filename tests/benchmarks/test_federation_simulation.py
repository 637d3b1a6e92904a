"""The simulation of an exchange, beside cases computed by hand."""

import math

import pytest

from fedbbpt_benchmarks.federation.simulate import (
    Costs,
    Exchange,
    Machine,
    Network,
    Passes,
    Stage,
    exchange_seconds,
    last_end,
)

FREE = Costs(server=0.0, server_byte=0.0, site=0.0, site_byte=0.0, wait=0.0)


def test_one_site_takes_the_sum_of_all_parts() -> None:
    costs = Costs(server=0.004, server_byte=1e-8, site=0.003, site_byte=2e-8, wait=0.002)
    seconds = exchange_seconds(Exchange(10_000, 5_000, work=0.5), 1, costs, Network(rate=1e6, latency=0.05))
    server, line, site = 0.004 + 15_000e-8, 8 * 15_000 / 1e6, 0.003 + 15_000 * 2e-8 + 0.5
    assert seconds == pytest.approx(server + line + 2 * 0.05 + site + 0.002)


def test_the_line_carries_one_message_after_the_other() -> None:
    seconds = exchange_seconds(Exchange(125_000, 125_000), 10, FREE, Network(rate=1e7, latency=0.01))
    # Each takes 0.1 s in either direction: the tenth is at its site after 1.01 s, and its reply takes 0.11 s.
    assert seconds == pytest.approx(10 * 0.1 + 0.01 + 0.01 + 0.1)


def test_replies_wait_for_each_other_where_they_are_larger_than_messages() -> None:
    seconds = exchange_seconds(Exchange(12_500, 125_000), 3, FREE, Network(rate=1e7))
    assert seconds == pytest.approx(0.01 + 3 * 0.1)  # replies begin after the first message


def test_the_server_handles_one_message_after_the_other() -> None:
    costs = FREE._replace(server=0.01)
    assert exchange_seconds(Exchange(0, 0, work=1.0), 4, costs) == pytest.approx(4 * 0.005 + 1.0 + 0.005)
    assert exchange_seconds(Exchange(0, 0), 4, costs) == pytest.approx(4 * 0.01)


def test_sites_on_machines_of_their_own_work_at_the_same_time() -> None:
    assert exchange_seconds(Exchange(0, 0, work=3.0), 1000, FREE) == pytest.approx(3.0)


def test_passes_through_a_body_follow_each_other_at_a_site_and_at_the_server() -> None:
    exchange = Exchange(0, 0, work=3.0, passes=Passes(2, up=125_000, down=250_000, work=0.5))
    network = Network(rate=1e7, latency=0.01)
    # Two passes of 0.1 s up, 0.5 s in the body and 0.2 s down, and four times the latency, beside the exchange's own.
    assert exchange_seconds(exchange, 1, FREE, network) == pytest.approx(3.0 + 2 * (0.1 + 0.5 + 0.2) + 6 * 0.01)
    busy = exchange_seconds(Exchange(0, 0, passes=Passes(2, up=0, down=0, work=0.5)), 10, FREE)
    assert busy == pytest.approx(10 * 2 * 0.5)  # the body is never idle


@pytest.mark.parametrize(("sites", "seconds"), [(1, 3.0), (2, 3.0), (3, 4.5), (4, 6.0)])
def test_sites_on_one_machine_share_its_cores(sites: int, seconds: float) -> None:
    assert exchange_seconds(Exchange(0, 0, work=3.0), sites, FREE, machine=Machine(2)) == pytest.approx(seconds)


def test_cores_that_are_busy_together_are_slower() -> None:
    machine = Machine(2, slowdown=1.25)
    assert exchange_seconds(Exchange(0, 0, work=3.0), 1, FREE, machine=machine) == pytest.approx(3.0)
    assert exchange_seconds(Exchange(0, 0, work=3.0), 2, FREE, machine=machine) == pytest.approx(3.75)
    assert exchange_seconds(Exchange(0, 0, work=3.0), 4, FREE, machine=machine) == pytest.approx(7.5)


def test_who_is_done_leaves_the_cores_to_the_others() -> None:
    short, long = [Stage(1.0, computes=True)], [Stage(3.0, computes=True)]
    assert last_end([short, long], Machine(1)) == pytest.approx(4.0)  # 2 s at half the speed, then 2 s alone
    assert last_end([short, long, long], Machine(2)) == pytest.approx(1.5 + 2.0)


def test_nothing_shared_is_as_fast_as_infinitely_many_cores() -> None:
    assert Machine().speed(10_000) == 1.0
    assert math.isinf(Machine().cores)
