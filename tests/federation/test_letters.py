"""Sites that write to each other: what a neighbour may send, and what the server learns of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from fedbbpt.federation.messages import Request, Response
from fedbbpt.federation.server import resume_run, train_run
from fedbbpt.run.callback import Callback
from fedbbpt.run.metrics import read_metrics
from fedbbpt.types import Update, wire
from tests.federation.in_memory import MemoryChannel, Messages

SITES = ("berlin", "oslo", "paris", "rome")
SETTINGS: dict[str, Any] = {
    "rounds": 3,
    "data": {"shots_per_class": 3, "validation_shots_per_class": 2},
    "algorithm": {"name": "gossip", "topology": "ring"},
    "engine": {"name": "nvflare", "federation": "x"},
}


def train_at(channel: MemoryChannel, out: Path, callback: Callback | None = None) -> list[dict[str, Any]]:
    out.mkdir()
    train_run(channel, SETTINGS, None, out, callback or Callback())
    return list(read_metrics(out / "metrics.jsonl"))


def forging(channel: MemoryChannel, change: Callable[[bytes], list[bytes]]) -> None:
    """Has rome send other letters than its own from the second round on."""
    deliver, seen = channel.deliver, [0]

    def forged(sender: str, site: str, letter: bytes) -> None:
        seen[0] += sender == "rome"
        for one in change(letter) if sender == "rome" and seen[0] > 2 else [letter]:
            deliver(sender, site, one)

    channel.hosts["rome"]._letterbox._send = lambda site, letter: forged("rome", site, letter)


def with_update(change: Callable[[Update], Update]) -> Callable[[bytes], list[bytes]]:
    def changed(letter: bytes) -> list[bytes]:
        arrays, scalars = wire.unpacked(letter)
        content = change(Update.from_bytes(arrays["letter"].tobytes())).to_bytes()
        return [wire.packed({"letter": np.frombuffer(content, np.uint8)}, **scalars)]

    return changed


def payload(change: Callable[[Any], Any]) -> Callable[[bytes], list[bytes]]:
    def changed(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {name: change(a) if a.dtype == np.float32 else a for name, a in arrays.items()}

    return with_update(lambda one: replace(one, payload=changed(one.payload)))


FORGERIES: dict[str, tuple[Callable[[bytes], list[bytes]], str]] = {
    "NaN": (payload(lambda a: np.full_like(a, np.nan)), "sent NaN or infinity in "),
    "infinity": (payload(lambda a: np.full_like(a, np.inf)), "sent NaN or infinity in "),
    "huge": (payload(lambda a: np.full_like(a, 1e9)), "more than 1,000 times as large as the receiver's own"),
    "another shape": (payload(lambda a: np.zeros(len(a) + 1, a.dtype)), "with another dtype or shape than float32"),
    "another dtype": (payload(lambda a: a.astype(np.float64)), "with another dtype or shape than float32"),
    "other parts": (with_update(lambda one: replace(one, payload={})), "sent other parts than the expected ones"),
    "another's name": (
        with_update(lambda one: replace(one, client="oslo")),
        "sent a reply under another client's name",
    ),
    "no safetensors": (lambda letter: [b"letter"], "sent one that cannot be read"),
    "nothing": (lambda letter: [], "sent none within"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_letter_that_cannot_be_used_is_refused_named_and_left_out(
    forgery: str, sites: Callable[[], MemoryChannel], tmp_path: Path
) -> None:
    channel, told, (change, why) = sites(), Messages(), FORGERIES[forgery]
    forging(channel, change)
    rows = train_at(channel, tmp_path / "run", told)
    lost = [link for row in rows for link in row.get("lost_links", [])]
    assert {(to, sender) for to, sender, _ in lost} == {("berlin", "rome"), ("paris", "rome")}
    assert all(why in reason for _, _, reason in lost)
    assert len(lost) == 4  # in the second round and the third
    assert any(text.startswith("berlin has no letter of rome in round 2: it sent ") for text in told.texts)
    assert all(np.isfinite(row["loss"]) for row in rows)


def test_a_letter_that_is_sent_again_changes_nothing(sites: Callable[[], MemoryChannel], tmp_path: Path) -> None:
    honest = train_at(sites(), tmp_path / "honest")
    channel, earlier = sites(), list[bytes]()

    def twice(letter: bytes) -> list[bytes]:
        earlier.append(letter)
        return [letter, letter, *earlier[-5:-3]]

    forging(channel, twice)
    rows = train_at(channel, tmp_path / "run")
    assert [row["loss"] for row in rows] == [row["loss"] for row in honest]


def test_letters_pass_the_server_by(sites: Callable[[], MemoryChannel], tmp_path: Path) -> None:
    channel = sites()
    train_at(channel, tmp_path / "run")
    pairs = {(sender, to) for sender, to, _ in channel.letters}
    ring = {("berlin", "oslo"), ("oslo", "paris"), ("paris", "rome"), ("rome", "berlin")}
    assert pairs == ring | {(b, a) for a, b in ring}  # neighbours alone
    numbers = set[bytes]()
    for _, _, sealed in channel.letters:
        letter = Update.from_bytes(wire.unpacked(sealed)[0]["letter"].tobytes())
        if "content" in letter.payload:  # of the readout alone, which is flooded
            continue
        numbers |= {letter.payload["readout"].tobytes(), letter.payload["prompt"].tobytes()}
    in_rounds = [r for (_, sent), (_, r) in zip(channel.requests, channel.responses, strict=True) if not _reveals(sent)]
    assert len(numbers) > 20
    assert not any(one in response for one in numbers for response in in_rounds)
    requests = [sent for _, sent in channel.requests if b"evaluate_mean" not in sent]
    assert not any(one in sent for one in numbers for sent in requests)


def _reveals(sent: bytes) -> bool:
    return Request.from_bytes(sent).fields.get("handler") == "reveal"


def test_a_site_that_is_away_is_left_out_and_comes_back_with_what_it_had(
    sites: Callable[[], MemoryChannel], tmp_path: Path
) -> None:
    channel, told = sites(), Messages()
    calls = []

    def leaves(request: Request) -> None:
        calls.append(request.fields.get("handler"))
        if calls.count("train") == 2:
            channel.silent.add("rome")
        if calls.count("train") == 3:
            channel.silent.clear()

    channel.on_request = leaves
    rows = train_at(channel, tmp_path / "run", told)
    assert any("rome dropped out of round 2" in text for text in told.texts)
    assert "dropped_clients" not in rows[-1]
    assert all(np.isfinite(row["consensus_distance"]) for row in rows if "consensus_distance" in row)


def test_a_site_that_was_away_and_is_started_again_has_what_it_saved_last(
    sites: Callable[[], MemoryChannel], tmp_path: Path
) -> None:
    channel = sites()
    calls = []

    def leaves(request: Request) -> None:
        calls.append(request.fields.get("handler"))
        if calls.count("train") == 2:
            channel.silent.add("rome")

    channel.on_request = leaves
    with pytest.raises(KeyboardInterrupt):
        train_at(channel, tmp_path / "run", Messages(2))
    folder = next((tmp_path / "kits" / "rome" / "runs").iterdir())
    saved = safetensors.numpy.load_file(folder / "round-000001.safetensors")
    assert not (folder / "round-000002.safetensors").exists()
    channel, seen = sites(), []

    def looks(request: Request) -> None:
        if request.fields.get("handler") == "train" and not seen:
            seen.append(dict(channel.hosts["rome"]._memory.arrays))

    channel.on_request = looks
    resume_run(channel, tmp_path / "run", Callback())
    assert seen[0].keys() == saved.keys()
    assert all(np.array_equal(seen[0][name], array) for name, array in saved.items())
    assert not any(Request.from_bytes(sent).fields.get("handler") == "catch_up" for _, sent in channel.requests)


def test_a_site_that_lost_its_memory_takes_its_neighbours_mean(
    sites: Callable[[], MemoryChannel], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_at(sites(), tmp_path / "run", Messages(2))
    for path in (tmp_path / "kits" / "rome" / "runs").glob("*/round-*"):
        path.unlink()
    channel = sites()
    resume_run(channel, tmp_path / "run", Callback())
    handlers = [(site, Request.from_bytes(sent)) for site, sent in channel.requests]
    assert [site for site, one in handlers if one.fields.get("handler") == "catch_up"] == ["rome"]
    first = next(one for site, one in handlers if one.kind == "letters" and site == "rome")
    assert sorted(first.fields["from"]) == ["berlin", "paris"]
    assert not any("lost_links" in row for row in read_metrics(tmp_path / "run" / "metrics.jsonl"))


def test_a_site_that_joins_late_takes_its_neighbours_mean(sites: Callable[[], MemoryChannel], tmp_path: Path) -> None:
    channel = sites()
    channel.silent.add("oslo")
    with pytest.raises(KeyboardInterrupt):
        train_at(channel, tmp_path / "run", Messages(2))
    told, channel = Messages(), sites()
    resume_run(channel, tmp_path / "run", told)
    assert "oslo joined late" in told.texts
    caught_up = [
        site for site, sent in channel.requests if Request.from_bytes(sent).fields.get("handler") == "catch_up"
    ]
    assert caught_up == ["oslo"]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert list(summary["clients"]) == ["berlin", "paris", "rome", "oslo"]
    assert summary["nodes"]["links"] == [[0, 1], [0, 3], [1, 2], [2, 3]]
    assert summary["clients"]["oslo"]["test_accuracy"] is not None
    assert all((tmp_path / "kits" / site / "runs").glob("*/result/summary.json") for site in SITES)
    resume_run(sites(), tmp_path / "run", told)  # finished: the result is handed out again


def test_with_a_server_nobody_joins_late(sites: Callable[[], MemoryChannel], tmp_path: Path) -> None:
    channel, out = sites(), tmp_path / "run"
    channel.silent.add("oslo")
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train_run(channel, SETTINGS | {"algorithm": {"name": "fedavg"}}, None, out, Messages(2))
    told = Messages()
    resume_run(sites(), out, told)
    assert "oslo takes no part: it was not there when the run began" in told.texts


@pytest.mark.parametrize("fields", [{"to": "oslo", "from": []}, {"to": [1], "from": []}, {"exchange": 5}])
def test_a_site_refuses_a_request_for_letters_that_makes_no_sense(
    fields: dict[str, Any], sites: Callable[[], MemoryChannel], tmp_path: Path
) -> None:
    channel = sites()
    train_at(channel, tmp_path / "run")
    whole = {"algorithm": "tuned", "exchange": "e", "to": [], "from": []} | fields
    content = next(s for _, s in channel.requests if Request.from_bytes(s).kind == "letters")
    request = Request("letters", whole, Request.from_bytes(content).content)
    assert Response.from_bytes(channel.hosts["oslo"].handle(request.to_bytes())).kind == "refused"
