"""The clients' memories on disk: committed with a round's checkpoint, checked with it, and removed with it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fedbbpt.algorithms import ClientMemory
from fedbbpt.errors import RunError
from fedbbpt.run import checkpoint
from fedbbpt.run.client_states import ClientFile, ClientStates, is_whole, tidy

ALGORITHMS = [{"name": "ensemble", "num_prompts": 3}, {"name": "local"}, {"name": "gossip"}, {"name": "flood"}]


@pytest.fixture
def states(tmp_path: Path) -> ClientStates:
    """Two clients; only the first remembers something."""
    memories = {"a": ClientMemory(), "b": ClientMemory()}
    memories["a"].part("algorithm")["x"] = np.arange(3, dtype=np.float32)
    return ClientStates(tmp_path / "clients", memories)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_comes_back_bit_for_bit(states: ClientStates, tmp_path: Path) -> None:
    files = states.save(1)
    assert names(tmp_path) == ["clients/a/round-000001.safetensors"]
    other = {"a": ClientMemory(), "b": ClientMemory()}
    ClientStates(tmp_path / "clients", other).load(files)
    assert other["a"].arrays["algorithm/x"].tobytes() == states.memories["a"].arrays["algorithm/x"].tobytes()
    assert (other["a"].version, other["b"].arrays) == (1, {})


def test_a_memory_that_has_not_changed_keeps_its_file(states: ClientStates, tmp_path: Path) -> None:
    first = states.save(1)
    assert states.save(2) == first
    again = ClientStates(tmp_path / "clients", states.memories)
    again.load(first)
    assert again.save(3) == first
    states.memories["a"].part("algorithm")["x"] = np.zeros(1)
    states.memories["b"].part("algorithm")["y"] = np.zeros(1)
    assert {client: one.file for client, one in states.save(4).items()} == dict.fromkeys(
        "ab", "round-000004.safetensors"
    )


def test_what_lasts_for_a_round_and_answers_with_gaps_stay_in_the_process(states: ClientStates, tmp_path: Path) -> None:
    memory = states.memories["a"]
    memory.part("scratch/algorithm")["answers"] = np.ones(2)
    memory.part("unprompted")["train"] = np.array([1.0, np.nan], np.float32)
    memory.part("unprompted")["test"] = np.ones(2, np.float32)
    ClientStates(tmp_path / "clients", (other := {"a": ClientMemory()})).load(states.save(1))
    assert other["a"].arrays.keys() == {"algorithm/x", "unprompted/test"}


@pytest.mark.parametrize("content", [b"", b"\x00", None])
def test_a_damaged_file_is_not_whole(states: ClientStates, tmp_path: Path, content: bytes | None) -> None:
    files = states.save(1)
    assert is_whole(tmp_path / "clients", files)
    path = tmp_path / "clients" / "a" / files["a"].file
    path.unlink() if content is None else path.write_bytes(content)
    assert not is_whole(tmp_path / "clients", files)


def test_files_that_no_checkpoint_names_are_removed(states: ClientStates, tmp_path: Path) -> None:
    kept = states.save(2)
    for name in ("round-000001.safetensors", "round-000009.safetensors", ".round-000003.safetensors.tmp"):
        (tmp_path / "clients" / "a" / name).write_bytes(b"left")
    tidy(tmp_path / "clients", [kept, {"b": ClientFile(file="gone", sha256="")}])
    assert names(tmp_path) == ["clients/a/round-000002.safetensors"]


def test_a_disk_that_does_not_take_it_is_a_sentence(states: ClientStates, tmp_path: Path) -> None:
    (tmp_path / "clients").write_text("in the way")
    with pytest.raises(RunError, match="cannot write"):
        states.save(1)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
@pytest.mark.parametrize("damage", ["flipped", "empty", "gone"])
def test_a_damaged_file_of_a_client_makes_its_checkpoint_damaged(
    run, make_watch, outcome, tmp_path: Path, algorithm, damage: str
) -> None:
    run(algorithm=algorithm, folder=tmp_path / "whole")
    watch = make_watch(stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        run(algorithm=algorithm, callback=watch)
    newest, before = (tmp_path / "run" / "checkpoints" / f"round-00000{n}.json" for n in (2, 1))
    assert newest.exists()
    victim = tmp_path / "run" / "clients" / "client-001" / "round-000002.safetensors"
    content = victim.read_bytes()
    victim.unlink() if damage == "gone" else victim.write_bytes(
        content[:-1] + bytes([content[-1] ^ 1]) if damage == "flipped" else b""
    )
    found, damaged = checkpoint.load_last(before.parent)
    assert (found.state.round, damaged) == (1, ["round-000002"])
    run(algorithm=algorithm, callback=watch)
    assert "checkpoint round-000002 is damaged; going on from the one before" in watch.messages
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    for file in (tmp_path / "run" / "clients").rglob("*.safetensors"):
        file.write_bytes(b"")
    with pytest.raises(RunError, match="every checkpoint in"):
        run(algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_only_the_files_that_the_kept_checkpoints_name_are_left(run, tmp_path: Path, algorithm) -> None:
    run(algorithm=algorithm, rounds=4)
    folder = tmp_path / "run"
    kept = [path.stem for path in (folder / "checkpoints").glob("*.json")]
    assert sorted(kept) == ["round-000003", "round-000004"]
    for client in run.experiment.clients:
        assert names(folder / "clients" / client.id) == [f"{stem}.safetensors" for stem in sorted(kept)]


def test_leftovers_of_a_kill_are_removed_when_the_run_goes_on(run, make_watch, tmp_path: Path) -> None:
    algorithm = ALGORITHMS[0]
    with pytest.raises(KeyboardInterrupt):
        run(algorithm=algorithm, callback=make_watch(stop_at=3))
    clients = tmp_path / "run" / "clients"
    shutil.copy(
        clients / "client-000" / "round-000002.safetensors", clients / "client-000" / "round-000003.safetensors"
    )
    (clients / "client-001" / ".round-000003.safetensors.tmp").write_bytes(b"half")
    (clients / "client-002" / "round-000000.safetensors").write_bytes(b"old")
    run(algorithm=algorithm)
    of_rounds = [f"{c.id}/round-00000{n}.safetensors" for c in run.experiment.clients for n in (2, 3)]
    assert names(clients) == [*of_rounds, "tested.safetensors"]
