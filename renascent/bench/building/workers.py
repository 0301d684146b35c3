"""Trainings in processes of this machine, one thread each. Requests and answers are JSON."""

import contextlib
import json
import os
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from threading import Thread

from renascent.bench.building.plan import Job
from renascent.bench.building.work import TRIES, died, train
from renascent.bench.stopping import shielded
from renascent.core.errors import UserError
from renascent.core.files import Json

PRELOADED = ("torch._dynamo",)
"""What trainings import besides: a server does it once, then it forks. In each process it would take seconds."""


def on_this_machine(text: str, jobs: Sequence[Job], workers: int) -> Iterator[Json]:
    """Yield the record of each training as it ends. A process that dies is replaced, and its training repeated.

    text: the plan in JSON.  workers: processes.
    Raises UserError when processes die before any training was finished.
    """
    waiting, deaths, finished = deque(jobs), Counter[Job](), 0
    team: list[_Worker] = []
    try:
        team.extend(_Worker(text) for _ in range(min(workers, len(jobs))))
        while waiting or any(worker.job for worker in team):
            for worker in team:
                if waiting and not worker.job:
                    worker.give(waiting.popleft())
            busy = {worker.pipe: worker for worker in team if worker.job}
            for pipe in wait(list(busy)):  # until some have something to say, or have died
                worker = busy[pipe]  # type: ignore[index]
                job, record = worker.take()
                if record is None:
                    deaths[job] += 1
                    how = worker.replace()
                    if not finished and deaths.total() >= TRIES:
                        raise UserError(
                            f"{TRIES} processes died, the last {how}, before one had trained anything: "
                            "is there memory enough? start with fewer `workers`"
                        )
                    if deaths[job] < TRIES:
                        waiting.append(job)
                        continue
                    record = died(*job, how)
                finished += 1
                yield record
    finally:
        for worker in team:
            worker.stop()


class _Worker:
    """One process, as its parent sees it. job: what it trains now."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.job: Job | None = None
        self._start()

    def _start(self) -> None:
        # not where there is a GPU: a fork cannot use one that the server has so much as asked after
        forks = "forkserver" in get_all_start_methods() and json.loads(self.text)["device"] == "cpu"
        context = get_context("forkserver") if forks else get_context("spawn")
        context.set_forkserver_preload([__name__, *PRELOADED])
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, self.text), daemon=True)
        with shielded():
            self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def give(self, job: Job) -> None:
        self.job = job
        with contextlib.suppress(OSError):  # one that died while it was idle is found out by `take`
            self.pipe.send_bytes(json.dumps(job).encode())

    def take(self) -> tuple[Job, Json | None]:
        """Return the job and its record, None when the process has died of it."""
        assert self.job is not None
        job, self.job = self.job, None
        try:
            return job, json.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            return job, None

    def replace(self) -> str:
        """Start another process in place of a dead one, and return how that one ended."""
        self.stop()
        code = self.process.exitcode
        self._start()
        return f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"

    def stop(self) -> None:
        self.pipe.close()
        self.process.join(timeout=0.5)  # a dead one tells how it died, which a kill would hide
        self.process.kill()
        self.process.join()


def _work(pipe: Connection, text: str) -> None:
    """Train what comes through the pipe, until it ends: the parent has finished, or was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then stops its processes
    jobs: SimpleQueue[bytes] = SimpleQueue()
    # beside this thread, so that this one notices at once when the parent is gone
    Thread(target=_train_each, args=(pipe, text, jobs), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            jobs.put(pipe.recv_bytes())
    os._exit(0)


def _train_each(pipe: Connection, text: str, jobs: SimpleQueue[bytes]) -> None:
    try:
        while True:
            arch, seed = json.loads(jobs.get())
            pipe.send_bytes(json.dumps(train(text, arch, seed)).encode())
    finally:
        os._exit(1)  # or the parent would wait for ever for an answer
