"""Sites that flood what they say: all have the server's parameters, and the server has neither losses nor sums."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbbpt.algorithms.flood_log import SALT_SIZE, packed_replies, replies_of
from fedbbpt.errors import BackendError
from fedbbpt.federation.messages import Request
from fedbbpt.federation.server import resume_run, train_run
from fedbbpt.run import checkpoint
from fedbbpt.run.callback import Callback
from fedbbpt.run.metrics import read_metrics
from fedbbpt.types import Update, wire
from tests.federation.in_memory import MemoryChannel, Messages

SITES = ("berlin", "oslo", "paris", "rome")
SETTINGS: dict[str, Any] = {
    "rounds": 3,
    "data": {"shots_per_class": 3, "validation_shots_per_class": 2},
    "optimizer": {"name": "spsa-gc"},
    "engine": {"name": "nvflare", "federation": "x"},
}


def train_at(channel: MemoryChannel, out: Path, callback: Callback | None = None, name: str = "flood") -> None:
    algorithm = {"name": "flood", "topology": "ring"} if name == "flood" else {"name": name}
    out.mkdir()
    train_run(channel, SETTINGS | {"algorithm": algorithm}, None, out, callback or Callback())


def result(out: Path) -> dict[str, bytes]:
    """The parameters that a run ended with."""
    return {name: array.tobytes() for name, array in checkpoint.load_best(out)[1].parameters.items()}


def kept(channel: MemoryChannel) -> dict[str, dict[str, bytes]]:
    """The state that each site has."""
    parts = {site: host._memory.part("tuned") for site, host in channel.hosts.items()}
    return {site: {name: part[name].tobytes() for name in part if "current/" in name} for site, part in parts.items()}


def handlers(channel: MemoryChannel) -> list[tuple[str, Any]]:
    """Which site was called for what."""
    return [(site, Request.from_bytes(sent).fields.get("handler")) for site, sent in channel.requests]


def test_sites_end_with_the_bits_of_a_server(sites: Callable[[], MemoryChannel], tmp_path: Path) -> None:
    channel = sites()
    train_at(channel, tmp_path / "flood")
    train_at(sites(), tmp_path / "server", name="fedavg")
    assert result(tmp_path / "flood") == result(tmp_path / "server")
    assert all(state == kept(channel)["berlin"] for state in kept(channel).values())


def test_the_server_hears_no_losses_sums_or_parameters_in_the_rounds(
    sites: Callable[[], MemoryChannel], tmp_path: Path
) -> None:
    channel = sites()
    train_at(channel, tmp_path / "run")
    replies: set[bytes] = set()
    for _, _, sealed in channel.letters:
        letter = Update.from_bytes(wire.unpacked(sealed)[0]["letter"].tobytes())
        replies |= set(replies_of(letter.payload["content"]).values())
    numbers = {
        array.tobytes() for reply in replies for array in wire.unpacked(reply[SALT_SIZE:])[0].values() if array.size
    }
    numbers |= {array for array in kept(channel)["oslo"].values() if len(array) > 12}
    assert len(replies) > 20
    exchanged = list(zip(channel.requests, channel.responses, strict=True))
    end = min(i for i, (_, handler) in enumerate(handlers(channel)) if handler == "reveal")
    for number, ((_, request), (_, response)) in enumerate(exchanged):
        asked = Request.from_bytes(request)
        reveals = asked.fields.get("handler") == "reveal"
        tests = number > end and asked.fields.get("handler") == "evaluate" and asked.fields.get("algorithm") == "tuned"
        seen = [*([] if tests or asked.kind == "result" else [request]), *([] if reveals else [response])]
        assert not [one for one in numbers for content in seen if one in content], asked.fields


def test_a_site_that_leaves_in_mid_round_comes_back_to_the_same_bits(
    sites: Callable[[], MemoryChannel], tmp_path: Path
) -> None:
    channel, told, calls = sites(), Messages(), list[Any]()

    def leaves(request: Request) -> None:
        """Rome is gone from the second exchange of the first round on, until the round is stored."""
        calls.append(request.fields.get("handler", request.kind))
        if request.kind == "letters" and "hear" in calls and calls.count("save") == 1:
            channel.silent = {"rome"}
        if request.kind == "save":
            channel.silent = set()

    channel.on_request = leaves
    train_at(channel, tmp_path / "run", told)
    assert any("rome dropped out of round 1" in text for text in told.texts)
    assert ("rome", "catch_up") in handlers(channel)
    assert all(state == kept(channel)["berlin"] for state in kept(channel).values())
    assert not any("left_out" in row for row in read_metrics(tmp_path / "run" / "metrics.jsonl"))


def test_a_site_that_lost_its_memory_ends_as_if_it_had_not(sites: Callable[[], MemoryChannel], tmp_path: Path) -> None:
    train_at(sites(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_at(sites(), tmp_path / "run", Messages(2))
    for path in (tmp_path / "kits" / "rome" / "runs").glob("*/round-*"):
        path.unlink()
    channel = sites()
    resume_run(channel, tmp_path / "run", Callback())
    assert [site for site, handler in handlers(channel) if handler == "catch_up"] == ["rome"]
    first = next(Request.from_bytes(s) for site, s in channel.requests if site == "rome" and b"letters" in s)
    assert sorted(first.fields["from"]) == ["berlin", "paris"]
    assert result(tmp_path / "run") == result(tmp_path / "whole")
    assert all(state == kept(channel)["berlin"] for state in kept(channel).values())


def test_a_site_that_joins_late_takes_the_state_of_its_neighbours(
    sites: Callable[[], MemoryChannel], tmp_path: Path
) -> None:
    channel = sites()
    channel.silent.add("oslo")
    with pytest.raises(KeyboardInterrupt):
        train_at(channel, tmp_path / "run", Messages(2))
    told, channel = Messages(), sites()
    resume_run(channel, tmp_path / "run", told)
    assert "oslo joined late" in told.texts
    assert [site for site, handler in handlers(channel) if handler == "catch_up"] == ["oslo"]
    assert all(state == kept(channel)["berlin"] for state in kept(channel).values())
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["clients"]["oslo"]["test_accuracy"] is not None


def forging(channel: MemoryChannel, change: Callable[[dict[str, bytes]], dict[str, bytes] | None]) -> None:
    """Has rome change what it passes on; None: it sends what is no letter."""

    def forged(site: str, sealed: bytes) -> None:
        arrays, scalars = wire.unpacked(sealed)
        letter = Update.from_bytes(arrays["letter"].tobytes())
        content = letter.payload["content"]
        try:
            replies = change(replies_of(content))
        except ValueError:  # a whole state
            replies = {}
        content = np.zeros(9, np.uint8) if replies is None else packed_replies(replies)
        letter = np.frombuffer(replace(letter, payload={"content": content}).to_bytes(), np.uint8)
        channel.deliver("rome", site, wire.packed({"letter": letter}, **scalars))

    channel.hosts["rome"]._letterbox._send = forged


def altered(replies: dict[str, bytes]) -> dict[str, bytes]:
    return {site: reply if site == "rome" else reply[:-1] + b"?" for site, reply in replies.items()}


def under_other_names(replies: dict[str, bytes]) -> dict[str, bytes]:
    return replies if "rome" in replies else dict(zip(replies, reversed(replies.values()), strict=True))


EARLIER: dict[str, bytes] = {}


def replayed(replies: dict[str, bytes]) -> dict[str, bytes]:
    return {site: EARLIER.setdefault(site, reply) if site != "rome" else reply for site, reply in replies.items()}


@pytest.mark.parametrize("change", [altered, under_other_names, replayed])
def test_a_site_that_forges_what_others_said_is_named_and_changes_nothing(
    change: Any, sites: Callable[[], MemoryChannel], tmp_path: Path
) -> None:
    train_at(sites(), tmp_path / "honest")
    channel, told = sites(), Messages()
    EARLIER.clear()
    forging(channel, change)
    train_at(channel, tmp_path / "run", told)
    assert result(tmp_path / "run") == result(tmp_path / "honest")
    lost = [link for row in read_metrics(tmp_path / "run" / "metrics.jsonl") for link in row.get("lost_links", [])]
    assert {sender for _, sender, _ in lost} == {"rome"}
    assert any("has no letter of rome in round" in text and "that node has not said" in text for text in told.texts)


def test_a_site_that_sends_garbage_is_named_and_the_others_go_on(
    sites: Callable[[], MemoryChannel], tmp_path: Path
) -> None:
    channel = sites()
    forging(channel, lambda replies: None)
    train_at(channel, tmp_path / "run", told := Messages())
    assert any("has no letter of rome in round 1" in text for text in told.texts)
    assert all(state == kept(channel)["berlin"] for state in kept(channel).values())


def test_sites_that_fall_apart_are_one_sentence(sites: Callable[[], MemoryChannel], tmp_path: Path) -> None:
    channel, stored = sites(), []

    def leave(request: Request) -> None:
        stored.extend([request] * (request.kind == "save"))
        channel.silent = {"oslo", "rome"} if len(stored) == 2 else set()

    channel.on_request = leave
    with pytest.raises(BackendError, match=r"they fall into parts: berlin \| paris\); the rounds before are not lost"):
        train_at(channel, tmp_path / "run")
