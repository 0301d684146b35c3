"""Trainings on a Ray cluster, one processor each."""

import importlib
import json
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from renascent.bench.building.plan import Job
from renascent.bench.building.work import TRIES, died, train
from renascent.core.errors import UserError, missing_extra
from renascent.core.files import Json

TIMEOUT_SECONDS = 10.0


def on_ray(text: str, jobs: Sequence[Job], workers: int, address: str) -> Iterator[Json]:
    """Yield the record of each training as it ends. Ray repeats a training whose process or machine dies.

    text: the plan in JSON.  workers: trainings at a time, 0 means one for each processor of the cluster.
    address: of the cluster's head, such as 10.0.0.1:6379. Every machine needs renascent, and the data in the same
    folder. Raises UserError when no cluster answers, MissingExtra when ray is not installed.
    """
    ray = _connected(address)
    try:
        remote = ray.remote(num_cpus=1, max_retries=TRIES - 1)(train_as_text)
        limit = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting, under_way = deque(jobs), dict[Any, Job]()
        while waiting or under_way:
            while waiting and len(under_way) < limit:
                job = waiting.popleft()
                under_way[remote.remote(text, *job)] = job
            done, _ = ray.wait(list(under_way), num_returns=1)
            job = under_way.pop(done[0])
            try:
                record = json.loads(ray.get(done[0]))
            except ray.exceptions.RayError as e:
                record = died(*job, f"by {type(e).__name__}")
            yield record
    finally:
        ray.shutdown()


def train_as_text(text: str, arch: str, seed: int) -> str:
    """Return the record of one training in JSON."""
    return json.dumps(train(text, arch, seed))


def _connected(address: str) -> Any:
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise missing_extra("ray", "ray") from None
    # Ray looks for the machine it runs on by its address in the network, which a cluster on loopback does not have
    local = {"_node_ip_address": "127.0.0.1"} if address.startswith(("127.0.0.1:", "localhost:")) else {}
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, configure_logging=False, **local)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as e:
        reason = str(e).strip().partition("\n")[0]
        raise UserError(
            f"no Ray cluster can be used at {address} ({reason}): start one by `ray start --head`, or leave `ray` out"
        ) from None
    return ray


def _knock(address: str) -> None:
    """Raise OSError when nothing listens at an address: Ray itself would try for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS).close()
