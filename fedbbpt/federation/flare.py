"""Our two halves inside NVFlare's: a Controller at the server, an Executor at a site, auxiliary messages between them.

What a site asks of the server are reliable messages: auxiliary ones that are sent again when they are lost.

The only place that NVFlare's jobs may build classes from (`local_settings.ALLOWED_CLASSES`).
"""

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import FLContextKey, ReturnCode, SiteType
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.apis.utils.reliable_message import ReliableMessage

from fedbbpt.federation.channel import Answer, Failure, JobAborted
from fedbbpt.federation.job_folder import JobFolder
from fedbbpt.federation.messages import Request, Response
from fedbbpt.federation.server_job import run_job
from fedbbpt.federation.site import Site

Reply = Response | Failure
TOPIC, CONTENT = "fedbbpt", "content"
LETTER_TOPIC = "fedbbpt-letter"  # from site to site
ECHO_TOPIC = "fedbbpt-echo"  # for `timing`
READY_TIMEOUT = 60  # seconds for a site's processes to start
MESSAGE_TIMEOUT = 60.0  # seconds for a message from a site to the server; then it counts as lost
ANSWER_TIMEOUT = 600.0  # seconds for the answer: a large body on a small machine takes minutes
SERVER = SiteType.SERVER
POLL = 0.02  # seconds between looks at the answers to "ready"
PING_INTERVAL, PING_TIMEOUT = 5.0, 2.0  # seconds
SILENCE = 30.0  # seconds without a sign of life after which nobody waits for a site
WORDS = {  # NVFlare's return codes
    ReturnCode.COMMUNICATION_ERROR: "it did not answer in time, or cannot be reached",
    ReturnCode.TIMEOUT: "it did not answer in time",
}


class FlareChannel:
    """Auxiliary messages to the sites of a job, over connections with TLS on both sides. See `Channel`.

    A site that is still at work says so when it is asked. For one that does not, nobody waits any longer, and hardly at
    all the next time.

    Args:
        engine: NVFlare's.
        sites: of the federation.
        ready: those whose process has said that it is ready; may grow.
        aborted: NVFlare's signal that the job is to end.
    """

    def __init__(self, engine: Any, sites: Sequence[str], ready: Collection[str], aborted: Signal) -> None:
        self.sites = tuple(sorted(sites))
        self._engine, self._ready, self._aborted = engine, ready, aborted
        self._silent: set[str] = set()  # sites that gave no sign of life when they were last asked

    def request(self, requests: Mapping[str, Request], timeout: float) -> dict[str, Reply]:
        """See `Channel`."""
        found: dict[str, Reply] = {site: Failure("it has not joined this job") for site in requests}
        if reachable := [site for site in requests if site in self._ready]:
            different = {id(request): request for request in requests.values()}  # most often, there is one for all
            contents = {name: request.to_bytes() for name, request in different.items()}
            ends = {site: Signal(self._aborted) for site in reachable}
            with ThreadPoolExecutor(len(reachable)) as pool:
                asked = {
                    site: pool.submit(self._ask, contents[id(requests[site])], site, timeout, ends[site])
                    for site in reachable
                }
                silent = self._wait(asked, ends)
            found |= {site: one.result() for site, one in asked.items()} | silent
            answered = {site for site in asked if isinstance(found[site], Response)}
            self._silent = self._silent - answered | silent.keys()
        if self._aborted.triggered:
            raise JobAborted("the job was stopped")
        return found

    def _wait(self, asked: Mapping[str, "Future[Reply]"], ends: Mapping[str, Signal]) -> dict[str, Reply]:
        """Waits for the answers; ends the wait for sites that give no sign of life, and returns those."""
        silent: dict[str, Reply] = {}
        start = time.monotonic()
        heard = {site: start - SILENCE if site in self._silent else start for site in asked}
        ping = Request("ping").to_bytes()
        while True:
            wait(asked.values(), PING_INTERVAL)
            pending = [site for site, one in asked.items() if not one.done() and site not in silent]
            if not pending or self._aborted.triggered:
                return silent
            with ThreadPoolExecutor(len(pending)) as pool:
                replies = pool.map(lambda site: self._ask(ping, site, PING_TIMEOUT, self._aborted), pending)
            for site, reply in zip(pending, replies, strict=True):
                if isinstance(reply, Response):
                    heard[site] = time.monotonic()
                elif time.monotonic() > heard[site] + SILENCE:
                    silent[site] = Failure(f"it gave no sign of life for {SILENCE:.0f} seconds")
                    ends[site].trigger(True)

    def _ask(self, content: bytes, site: str, timeout: float, end: Signal) -> Reply:
        with self._engine.new_context() as fl_ctx:
            fl_ctx.put(FLContextKey.RUN_ABORT_SIGNAL, end, private=True, sticky=False)
            message = Shareable({CONTENT: content})
            return _response(self._engine.send_aux_request([site], TOPIC, message, timeout, fl_ctx).get(site))

    def echo(self, content: bytes, sites: Sequence[str], timeout: float) -> bool:
        """See `EchoingChannel`."""
        with self._engine.new_context() as fl_ctx:
            message = Shareable({CONTENT: content})
            found = self._engine.send_aux_request(list(sites), ECHO_TOPIC, message, timeout, fl_ctx)
        return all(site in found and found[site].get(CONTENT) == content for site in sites)

    def answer_with(self, answer: Answer) -> None:
        """See `Channel`."""
        with self._engine.new_context() as fl_ctx:
            ReliableMessage.register_request_handler(TOPIC, partial(_reply, answer), fl_ctx)


class ServerHalf(Controller):  # type: ignore[misc]
    """Runs the server's half of a job that `jobs.submit` described in the server's kit, under the name `job`."""

    def __init__(self, job: str) -> None:
        super().__init__(task_check_period=POLL)
        self._job = job

    def start_controller(self, fl_ctx: FLContext) -> None:
        """See `Controller`; there is nothing to prepare."""

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """See `Controller`; there is nothing to tidy up."""

    def process_result_of_unknown_task(
        self, client: Any, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """See `Controller`; such results are ignored."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Waits for the sites' processes, then trains."""
        engine, ready = fl_ctx.get_engine(), set[str]()

        def on_ready(client_task: ClientTask, fl_ctx: FLContext) -> None:
            ready.add(client_task.client.name)

        expected = [client.name for client in engine.get_clients()]
        # Auxiliary messages reach nobody before its process has asked for a task.
        task = Task("ready", Shareable(), timeout=READY_TIMEOUT, result_received_cb=on_ready)
        self.broadcast_and_wait(task, fl_ctx, min_responses=len(expected), abort_signal=abort_signal)
        folder = JobFolder.of(_root(fl_ctx), self._job)
        run_job(folder, FlareChannel(engine, folder.job.sites, ready, abort_signal))


class SiteHalf(Executor):  # type: ignore[misc]
    """Answers the requests of a job's server at a site."""

    def __init__(self) -> None:
        super().__init__()
        self._site: Site | None = None

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """See `FLComponent`."""
        if event_type == EventType.START_RUN:
            engine = fl_ctx.get_engine()
            ways = partial(_ask_server, engine), partial(_send_letter, engine)
            self._site = Site(_root(fl_ctx), fl_ctx.get_identity_name(), *ways)
            engine.register_aux_message_handler(TOPIC, partial(_reply, self._site.handle))
            engine.register_aux_message_handler(LETTER_TOPIC, partial(_hear, self._site))
            engine.register_aux_message_handler(ECHO_TOPIC, partial(_reply, lambda content: content))
        elif event_type == EventType.END_RUN and self._site is not None:
            threading.Thread(target=self._site.close).start()

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Says that the site's process is ready: the only task."""
        return make_reply(ReturnCode.OK)


def _reply(answer: Answer, topic: str, request: Shareable, fl_ctx: FLContext) -> Shareable:
    """Answers a request that has come."""
    content = request.get(CONTENT)
    if not isinstance(content, bytes):
        return make_reply(ReturnCode.BAD_REQUEST_DATA)
    reply = make_reply(ReturnCode.OK)
    reply[CONTENT] = answer(content)
    return reply


def _hear(site: Site, topic: str, request: Shareable, fl_ctx: FLContext) -> Shareable:
    """Takes another site's letter; who that is says the connection, over which NVFlare encrypted it from end to end."""
    content, sender = request.get(CONTENT), fl_ctx.get_peer_context().get_identity_name()
    if not isinstance(content, bytes) or not isinstance(sender, str):
        return make_reply(ReturnCode.BAD_REQUEST_DATA)
    site.hear(sender, content)
    return make_reply(ReturnCode.OK)


def _send_letter(engine: Any, site: str, content: bytes) -> None:
    """Sends a letter that neither the server nor its machine can read, although it passes them."""
    letter = Shareable({CONTENT: content})
    with engine.new_context() as fl_ctx:
        engine.send_aux_request([site], LETTER_TOPIC, letter, MESSAGE_TIMEOUT, fl_ctx, secure=True)


def _ask_server(engine: Any, request: bytes) -> bytes:
    """The server's answer to a request of a site; a response that says so if there is none."""
    message, timeouts = Shareable({CONTENT: request}), (MESSAGE_TIMEOUT, ANSWER_TIMEOUT)
    with engine.new_context() as fl_ctx:
        abort = fl_ctx.get_run_abort_signal()
        reply = ReliableMessage.send_request(SERVER, TOPIC, message, *timeouts, abort, fl_ctx)
    content = _content(reply)
    return content if isinstance(content, bytes) else Response.without_result("dropped", content.reason).to_bytes()


def _root(fl_ctx: FLContext) -> Path:
    """The folder of the kit with which this process runs."""
    return Path(fl_ctx.get_engine().get_workspace().get_root_dir())


def _response(reply: Any) -> Reply:
    content = _content(reply)
    try:
        return content if isinstance(content, Failure) else Response.from_bytes(content)
    except ValueError as e:
        return Failure(f"its answer cannot be read: {e}")


def _content(reply: Any) -> bytes | Failure:
    """The bytes of a reply, or why there are none."""
    if reply is None:
        return Failure("it did not answer in time")
    if (code := reply.get_return_code()) != ReturnCode.OK:
        return Failure(WORDS.get(code, f"NVFlare says {code}"))
    content = reply.get(CONTENT)
    return content if isinstance(content, bytes) else Failure("its answer cannot be read")
