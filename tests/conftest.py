"""What many tests need: order in a test run, the toy task of `fedbbpt.testing`, and a small HTTP server."""

import json
import os
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: their threads would wait for each other

import pytest
from click.testing import CliRunner

from fedbbpt.cli import main
from fedbbpt.testing import ToyBackend
from fedbbpt.testing.expect import same_bits
from fedbbpt.testing.toy import toy_client, toy_clients, toy_data

MARK = "FEDBBPT_TEST_RUN"  # in the environment of every process that a test starts, and of those that it starts
LONGEST_NAME = 60  # characters of a value
DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)

_deprecations: set[str] = set()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--assets` and `--deprecations-to`."""
    parser.addoption("--assets", action="store_true", help="also test the public data sets, fetched on first use")
    parser.addoption("--deprecations-to", type=Path, metavar="FILE", help="write a line for each deprecation")


def pytest_configure(config: pytest.Config) -> None:
    """Programs that tests start can be interrupted and found, also where a shell runs the tests in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children inherit an ignored signal, a handled one not
    os.environ[MARK] = str(os.getpid())
    leave = subprocess.Popen.__exit__

    def end_and_leave(process: "subprocess.Popen[Any]", kind: Any, *about: Any) -> None:
        if kind is not None:
            process.kill()  # a failed test does not wait for a program that nobody ends
        leave(process, kind, *about)

    subprocess.Popen.__exit__ = end_and_leave  # type: ignore[method-assign]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Short names of tests, the same in all processes: bytes may hold the time at which they were packed."""
    if isinstance(val, bytes):
        return argname
    return val[:LONGEST_NAME].encode("unicode_escape").decode() if isinstance(val, str) else None


def pytest_warning_recorded(warning_message: warnings.WarningMessage, nodeid: str) -> None:
    """Keeps deprecations, wherever they are attributed to."""
    if issubclass(warning_message.category, DEPRECATIONS):
        _deprecations.add(f"{nodeid}: {warning_message.category.__name__}: {warning_message.message}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the list of deprecations, where one was asked for; tests that run side by side send theirs here."""
    file = session.config.getoption("deprecations_to")
    if file is not None and not hasattr(session.config, "workerinput"):
        file.write_text("".join(f"{line}\n" for line in sorted(_deprecations)))


@pytest.fixture(scope="session", autouse=True)
def nothing_left() -> Iterator[None]:
    """Ends what tests left running, and fails for it; the first to be set up, and so the last to be torn down."""
    yield
    left = _left()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"tests left processes behind: {'; '.join(left.values())}"


def _left() -> dict[int, str]:
    """Processes of this test run, by pid; empty where there is no /proc."""
    mark = f"{MARK}={os.getpid()}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = mark in (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
        waits = not command or "resource_tracker" in command  # ended, and nobody asked for it; Python's own helper
        if ours and not waits and int(folder.name) != os.getpid():
            found[int(folder.name)] = command
    return found


@pytest.fixture
def make_backend():
    """The class of the toy backend."""
    return ToyBackend


@pytest.fixture
def fake_backend():
    """A backend of three classes for pictures of 8 × 8 pixels, at most 16 a request."""
    return ToyBackend()


@pytest.fixture
def make_data():
    """`make_data(count, seed)`: a data set for the toy backend."""
    return toy_data


@pytest.fixture
def make_client():
    """`make_client(name, train, seed)`: a client with `train` training, 5 validation and 9 test examples."""
    return toy_client


@pytest.fixture
def clients():
    """Three clients with 4, 7 and 12 training examples."""
    return toy_clients()


@pytest.fixture
def same():
    """`same(a, b)`: whether two sets of parameters have the same bits."""
    return same_bits


@pytest.fixture
def rounds():
    """`rounds(simulation, count, state)`: the states before and after each round, and the training losses."""

    def run(simulation, count, state=None):
        states, losses = [simulation.algorithm.init() if state is None else state], []
        for _ in range(count):
            state, report = simulation.round(states[-1])
            states.append(state)
            losses.append(report.loss)
        return states, losses

    return run


@pytest.fixture(scope="session")
def outcome() -> Callable[[Path], Any]:
    """`outcome(folder)`: rows of metrics, summary and all arrays of a run, the clients' too; without the seconds."""

    def read(folder: Path) -> Any:
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        summary = json.loads((folder / "summary.json").read_text())
        for record in (*rows, summary):
            assert record.pop("seconds") > 0
        arrays = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}
        return rows, summary, arrays

    return read


@pytest.fixture(scope="session")
def in_process() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the command line in this process, for what takes seconds to import, and needs no third party."""

    def run(*arguments: object, check: bool = False) -> "subprocess.CompletedProcess[str]":
        result = CliRunner().invoke(main, list(map(str, arguments)))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0 or not check, result.output
        return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)

    return run


class RecordingServer(ThreadingHTTPServer):
    """Answers each POST as `answer(body)` says, with a status, headers and a body; keeps what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Recorder)
        self.answer: Callable[[Any], tuple[int, dict[str, str], Any]] = lambda body: (200, {}, body)
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections: set[Any] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RecordingServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.server.paths.append(self.path)
        self.server.headers.append(dict(self.headers))
        self.server.connections.add(self.client_address)
        status, headers, answer = self.server.answer(body)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = "Content-Length" in headers

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def recording_server() -> Iterator[RecordingServer]:
    """A server on this machine for requests and answers in JSON, or for answers in bytes."""
    with RecordingServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
