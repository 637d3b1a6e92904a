"""The server's half of a job: runs it, and writes into the job's folder what happens."""

import logging
from pathlib import Path

from rich.console import Console

from fedbbpt.errors import FedbbptError
from fedbbpt.federation.channel import JobAborted, QuorumLost
from fedbbpt.federation.job_folder import JobFolder, Outcome
from fedbbpt.federation.server import resume_run, train_run
from fedbbpt.federation.timing import EchoingChannel, TimedChannel
from fedbbpt.federation.watched_channel import WatchedChannel
from fedbbpt.run.progress import LineReporter

log = logging.getLogger("fedbbpt.federation")


def run_job(folder: JobFolder, channel: EchoingChannel) -> None:
    """Runs the server's half of a job; whatever happens stands in its folder."""
    job = folder.job
    timed = TimedChannel(channel, job.timed_exchanges) if job.timed_exchanges else None
    watched = WatchedChannel(timed or channel, folder)
    with folder.progress.open("w", buffering=1, encoding="utf-8") as file:
        reporter = LineReporter(Console(file=file, highlight=False, soft_wrap=True))
        try:
            if job.resume:
                resume_run(watched, Path(job.out), reporter)
            else:
                train_run(watched, job.settings, job.preset, Path(job.out), reporter)
        except JobAborted:
            return  # it did not end by itself: whoever submitted it may submit it again
        except QuorumLost as e:
            outcome = Outcome(error=str(e), quorum_lost=True)
        except FedbbptError as e:
            log.error("the run stops: %s", e)
            outcome = Outcome(error=str(e))
        except Exception:
            log.exception("an error in fedbbpt itself")
            outcome = Outcome(error="an error in fedbbpt itself; the server's log says where")
        else:
            outcome = Outcome()
    if timed is not None:
        folder.write_timing(timed.timing)
    folder.write_outcome(outcome)
