"""A site of a federation: answers the server's requests with the site's own data and model."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import fedbbpt
from fedbbpt.algorithms import ClientMemory
from fedbbpt.algorithms.letters import LETTER
from fedbbpt.config.components import build_task
from fedbbpt.data.ngrams import count_ngrams
from fedbbpt.data.sites import SiteTask
from fedbbpt.engines import BASELINE, TUNED, Call, ClientHost, Engine, HostFactory
from fedbbpt.engines.processes import Processes
from fedbbpt.engines.worker import SPAWN
from fedbbpt.errors import BackendError, BudgetError, ConfigError, FedbbptError, FederationError, PolicyError, RunError
from fedbbpt.federation.body_link import pass_on
from fedbbpt.federation.channel import Answer
from fedbbpt.federation.letterbox import Letterbox, SendLetter
from fedbbpt.federation.messages import Request, Response
from fedbbpt.federation.site_config import SiteConfig
from fedbbpt.federation.site_host import FACTS, FORM, RunTerms, open_site, run_config
from fedbbpt.federation.site_runs import SiteRun
from fedbbpt.run.client_data import site_client
from fedbbpt.types import Message, wire

log = logging.getLogger("fedbbpt.federation")
NOTHING = Message(0, 0, {})


class Site:
    """The client's half of a federation at one site.

    It answers one request at a time, of the kinds of `RequestKind`, and nothing else. The server learns what the
    answers say, and no more: an error, which may name files or settings, is written to the site's own log.

    Args:
        kit: the site's folder.
        name: the site's name, which is also its client's.
        ask_server: brings the server's response to a request; the client asks for the body of a split model.
        send_letter: brings a letter to another site.
        engine: runs the client; by default in a process of its own, so that its end costs no more than an update.
    """

    def __init__(
        self,
        kit: Path,
        name: str,
        ask_server: Answer,
        send_letter: SendLetter,
        engine: Callable[..., Engine] = Processes,
    ) -> None:
        self._kit, self._name = kit, name
        self._memory = ClientMemory()
        self._hosts = _SiteHosts(kit, name, ask_server)
        self._engine = engine(self._hosts, {name: self._memory})
        self._letterbox = Letterbox(name, send_letter)
        self._turn, self._held = Lock(), ExitStack()
        self._run: SiteRun | None = None
        self._answers: Mapping[str, Callable[[Request], Response]] = {
            "ping": lambda request: Response(),
            "describe": self._describe,
            "words": self._words,
            "open": self._open,
            "restore": self._restore,
            "call": self._call,
            "letters": self._letters,
            "save": self._save,
            "result": self._result,
        }

    def handle(self, content: bytes) -> bytes:
        """Answers a request, as bytes; never raises."""
        if not self._turn.acquire(blocking=False):
            return Response.without_result("busy", "it is still at work on an earlier request").to_bytes()
        try:
            return self._answered(content).to_bytes()
        finally:
            self._turn.release()

    def hear(self, sender: str, content: bytes) -> None:
        """Takes what another site has sent; `sender` is the name in its certificate."""
        if why := self._letterbox.hear(sender, content):
            log.error("refused a letter of %s: %s", sender, why)

    def close(self) -> None:
        """Ends the site's worker process, and lets go of the run."""
        self._engine.close()
        self._held.close()

    def _answered(self, content: bytes) -> Response:
        try:
            request = Request.from_bytes(content)
            if request.kind not in self._answers:
                raise FederationError("no site answers such requests")
            return self._answers[request.kind](request)
        except PolicyError as e:
            log.error("refused: %s", e)
            return Response.without_result("refused", str(e))
        except (BackendError, BudgetError, RunError) as e:
            log.error("failed: %s", e)
            return Response.without_result("dropped", "its work failed; its log says why")
        except (FedbbptError, ValueError) as e:
            log.error("refused: %s", e)
            return Response.without_result("refused", "it cannot do what the job asks; its log says why")
        except Exception:
            log.exception("an error in fedbbpt itself")
            return Response.without_result("dropped", "it met an error in fedbbpt itself; its log says where")

    def _describe(self, request: Request) -> Response:
        own = SiteConfig.read(self._kit)
        task = build_task(own.data)
        backend = own.public_backend.model_dump()
        facts = {"version": fedbbpt.__version__, "modality": task.modality, "classes": list(task.classes)}
        return Response("ok", {**facts, "backend": backend})

    def _words(self, request: Request) -> Response:
        own, terms = SiteConfig.read(self._kit), _terms(request)
        own.policy.check_shares_words()
        task = SiteTask(build_task(own.data), terms.classes)
        texts = site_client(run_config(own, terms), self._name, task.load(None)).train.inputs
        return Response("ok", content=count_ngrams(texts[:]).to_bytes())

    def _open(self, request: Request) -> Response:
        terms = _terms(request)
        self._engine.close()
        self._held.close()
        self._run = SiteRun.of(self._kit, terms.run)
        self._held.enter_context(self._run.held())
        self._hosts.terms = terms
        self._memory.replace({})
        facts: Response = self._ask(Call(FACTS, NOTHING))
        return facts

    def _restore(self, request: Request) -> Response:
        run = self._opened()
        self._memory.replace(run.load(_round(request), or_earlier=request.fields.get("or_earlier") is True) or {})
        return Response()

    def _call(self, request: Request) -> Response:
        run = self._opened()
        message = Message.from_bytes(request.content)
        reply = self._ask(Call(str(request.fields.get("handler")), message, _algorithm(request)))
        if isinstance(reply, Response):
            return reply
        run.add_queries(reply.usage.queries)
        return Response("ok", {"reply": type(reply).__name__}, reply.to_bytes())

    def _letters(self, request: Request) -> Response:
        self._opened()
        message, (to, senders) = Message.from_bytes(request.content), (_names(request, key) for key in ("to", "from"))
        form, own = (self._ask(Call(handler, message, _algorithm(request))) for handler in (FORM, LETTER))
        for reply in (form, own):
            if isinstance(reply, Response):
                return reply
        exchange = wire.named(request.fields.get("exchange"))
        letters, received = self._letterbox.exchange(exchange, own, to, senders, form)
        self._memory.take_letters({sender: letter.payload for sender, letter in letters.items()})
        for sender, why in received.missing.items():
            log.error("there is no letter of %s: it %s", sender, why)
        return Response("ok", {"reply": type(received).__name__}, received.to_bytes())

    def _save(self, request: Request) -> Response:
        self._opened().save(_round(request), self._memory.durable)
        return Response()

    def _result(self, request: Request) -> Response:
        SiteRun.of(self._kit, str(request.fields.get("run"))).keep_result(request.content)
        return Response()

    def _opened(self) -> SiteRun:
        if self._run is None:
            raise FederationError("no run is open here")
        return self._run

    def _ask(self, call: Call) -> Any:
        """The worker's reply; if its process ends, a response that says so."""
        ended: list[str] = []
        replies = list(self._engine.send(call, [self._name], lambda _, how: ended.append(how)))
        return replies[0] if replies else Response.without_result("dropped", f"its worker process ended: {ended[0]}")


class _SiteHosts(HostFactory):
    """Opens what the site has for the run that is open now."""

    def __init__(self, kit: Path, name: str, ask_server: Answer) -> None:
        self._kit, self._name, self._ask_server = kit, name, ask_server
        self.terms: RunTerms | None = None
        self._here: tuple[RunTerms | None, ClientHost] | None = None

    def here(self) -> ClientHost:
        if self._here is None or self._here[0] is not self.terms:
            self._here = self.terms, self.opener()
        return self._here[1]

    @property
    def opener(self) -> Callable[[], ClientHost]:
        if self.terms is None:
            raise FederationError("no run is open here")
        ours, theirs = SPAWN.Pipe()  # a pipe for each process: it ends with the process, whose end is held by it alone
        Thread(target=pass_on, args=(ours, self._ask_server), daemon=True).start()
        return partial(open_site, self._kit, self._name, self.terms, theirs)


def _terms(request: Request) -> RunTerms:
    """What the server says of a run; raises FederationError if it is not said as it should be."""
    run, config, classes = (request.fields.get(name) for name in RunTerms._fields)
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not (isinstance(run, str) and isinstance(config, str) and named and isinstance(classes, list)):
        raise FederationError("the server does not say which run, with which settings and classes")
    return RunTerms(run, config, tuple(classes))


def _algorithm(request: Request) -> str:
    algorithm = request.fields.get("algorithm")
    if algorithm not in (TUNED, BASELINE):
        raise ConfigError(f"there is no algorithm {algorithm!r} in a run")
    return str(algorithm)


def _names(request: Request, key: str) -> list[str]:
    names = request.fields.get(key)
    if not isinstance(names, list):
        raise FederationError("the server does not say to whom a letter goes, or of whom one comes")
    return [wire.named(name) for name in names]


def _round(request: Request) -> int:
    round_ = request.fields.get("round")
    if type(round_) is not int or round_ < 0:
        raise FederationError("the server does not say of which round")
    return round_
