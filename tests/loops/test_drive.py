"""The loop under both loops: what it saves, where it goes on, and when it stops."""

import math
import random
import signal

import numpy as np
import pytest
import torch

from renascent.core.errors import Diverged, Interrupted, UserError
from renascent.loops import _drive
from renascent.loops._drive import Means, drive
from renascent.loops.run import Run, read_events


class Walk:
    """A part whose state depends on every random number so far."""

    def __init__(self) -> None:
        self.place = torch.zeros(2)

    def step(self, t):
        self.place = 0.9 * self.place + torch.randn(2) + random.random() * np.random.rand()  # noqa: NPY002
        return {"loss": self.place.sum()} | ({"rare": self.place[0]} if t.ends_epoch else {})

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


class Stop(Exception):
    pass


def go(folder, *, walk=None, before=lambda t: None, resume=False, epochs=3, seed=1, config=None):
    """Drive a walk of three epochs of four steps. before: called ahead of every step."""
    walk = walk or Walk()
    run = Run.start(folder, config or {"seed": seed}, resume=resume)

    def step(t):
        before(t)
        return walk.step(t)

    heard = []
    seconds = drive(
        run,
        {"walk": walk},
        epochs=epochs,
        steps_per_epoch=4,
        seed=seed,
        step=step,
        epoch=lambda means: {"belief": means["loss"] * 2},
        say=heard.append,
    )
    return walk.place, heard, seconds


def plain(events):
    return [{k: v for k, v in event.items() if k not in ("time", "seconds")} for event in events]


def test_two_drives_of_one_folder_do_not_mix(tmp_path):
    def second(t):
        if t.step == 5:
            with pytest.raises(UserError, match=r"another process is at work in .*: wait for it"):
                go(tmp_path / "a", resume=True)

    place, heard, _ = go(tmp_path / "a", before=second)
    alone, others, _ = go(tmp_path / "b")
    assert torch.equal(place, alone)
    assert plain(heard) == plain(others)
    assert plain(read_events(tmp_path / "a")) == plain(others)


def test_an_event_an_epoch_with_the_means_of_its_metrics(tmp_path):
    seen = []
    walk = Walk()
    inner = walk.step
    walk.step = lambda t: seen.append(inner(t)) or seen[-1]
    _, heard, seconds = go(tmp_path / "r", walk=walk)
    assert [e["epoch"] for e in heard] == [1, 2, 3]
    for k, event in enumerate(heard):
        losses = [float(m["loss"].double()) for m in seen[4 * k : 4 * k + 4]]
        assert event["loss"] == sum(losses) / 4
        assert event["belief"] == 2 * event["loss"]
        assert event["rare"] == float(seen[4 * k + 3]["rare"].double())
        assert (event["event"], event["epochs"]) == ("epoch", 3)
    assert heard == read_events(tmp_path / "r")
    assert [e["seconds"] for e in heard] == sorted(e["seconds"] for e in heard)
    assert seconds >= heard[-1]["seconds"] - 1e-3


@pytest.mark.parametrize("saving", [1e9, -1.0])  # after every epoch only, after every step
@pytest.mark.parametrize("stops", [[2], [4], [5, 9], [1, 2, 3, 11], [0]])
def test_stopped_anywhere_and_resumed_is_the_same(tmp_path, monkeypatch, saving, stops):
    monkeypatch.setattr(_drive, "CHECKPOINT_SECONDS", saving)
    place, _, _ = go(tmp_path / "whole")
    for stop in stops:

        def kill(t, stop=stop):
            if t.step == stop:
                raise Stop

        with pytest.raises(Stop):
            go(tmp_path / "r", before=kill, resume=True)
        torch.rand(7), random.random(), np.random.rand()  # noqa: NPY002  whatever else used random numbers
    again, _, _ = go(tmp_path / "r", resume=True)
    assert torch.equal(again, place)
    assert plain(read_events(tmp_path / "r")) == plain(read_events(tmp_path / "whole"))


def test_what_others_draw_is_not_touched(tmp_path):
    def numbers():
        return random.random(), np.random.rand()  # noqa: NPY002

    random.seed(1), np.random.seed(1)  # noqa: NPY002
    first = [numbers(), numbers()]
    random.seed(1), np.random.seed(1)  # noqa: NPY002
    second = [numbers()]
    go(tmp_path / "r")
    assert [*second, numbers()] == first


def test_a_finished_run_takes_no_more_steps(tmp_path):
    place, _, _ = go(tmp_path / "r")
    again, heard, _ = go(tmp_path / "r", resume=True, before=lambda t: pytest.fail("a step"))
    assert torch.equal(again, place)
    assert heard == []


def test_seconds_go_on_counting(tmp_path):
    def kill(t):
        if t.step == 6:
            raise Stop

    with pytest.raises(Stop):
        go(tmp_path / "r", before=kill)
    before = read_events(tmp_path / "r")[-1]["seconds"]
    _, _, seconds = go(tmp_path / "r", resume=True)
    assert seconds > before


def test_seeds_differ(tmp_path):
    assert not torch.equal(go(tmp_path / "a", seed=1)[0], go(tmp_path / "b", seed=2)[0])


# --- interruption


def interrupt_at(step):
    def before(t):
        if t.step == step:
            signal.raise_signal(signal.SIGINT)

    return before


@pytest.mark.parametrize("step", [0, 5, 7])
def test_an_interrupt_ends_the_step_saves_and_says_how_to_go_on(tmp_path, step):
    place, _, _ = go(tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"interrupted after step {step + 1} of 12; add `resume=True`"):
        go(tmp_path / "r", before=interrupt_at(step))
    taken = []
    again, _, _ = go(tmp_path / "r", resume=True, before=lambda t: taken.append(t.step))
    assert taken == list(range(step + 1, 12))
    assert torch.equal(again, place)
    assert plain(read_events(tmp_path / "r")) == plain(read_events(tmp_path / "whole"))


def test_an_interrupt_in_the_last_step_changes_nothing(tmp_path):
    place, _, _ = go(tmp_path / "whole")
    again, _, _ = go(tmp_path / "r", before=interrupt_at(11))
    assert torch.equal(again, place)


def test_an_interrupt_between_the_step_and_its_end_is_not_lost_and_is_saved(tmp_path, monkeypatch):
    """The signal arrives while the metrics are checked: the run must not stop without a checkpoint of where it is."""
    check, calls = _drive._check_finite, []

    def late(means, t, run):
        check(means, t, run)
        calls.append(t.step)
        if t.step == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_drive, "_check_finite", late)
    with pytest.raises(Interrupted) as stopped:
        go(tmp_path / "r")
    monkeypatch.undo()
    done = int(str(stopped.value).split("step ")[1].split()[0])
    taken = []
    go(tmp_path / "r", resume=True, before=lambda t: taken.append(t.step))
    assert taken[0] == done


# --- divergence


class Broken(Walk):
    """Goes wrong at one step. kind: what becomes infinite or no number."""

    def __init__(self, at, kind) -> None:
        super().__init__()
        self.at, self.kind = at, kind

    def step(self, t):
        metrics = super().step(t)
        if t.step == self.at and self.kind == "metric":
            metrics["loss"] = metrics["loss"] * math.nan
        if t.step == self.at and self.kind == "infinite":
            metrics["loss"] = metrics["loss"].abs() * math.inf
        if t.step == self.at and self.kind == "state":
            self.place[1] = math.nan
        return metrics


@pytest.mark.parametrize("kind", ["metric", "infinite", "state"])
@pytest.mark.parametrize("at", [5, 7])
def test_drive_non_finite_values_stop_and_keep_the_last_checkpoint(tmp_path, kind, at):
    with pytest.raises(Diverged, match=r"the last good checkpoint is .*checkpoint.safetensors; .*smaller `lr`") as e:
        go(tmp_path / "r", walk=Broken(at, kind))
    if kind != "state":
        assert f"at step {at + 1} of 12 (epoch 2)" in str(e.value)
    run = Run.start(tmp_path / "r", {"seed": 1}, resume=True)
    tree = run.restore()
    assert tree["step"] == 4
    assert torch.isfinite(tree["walk"]["place"]).all()
    assert [event["epoch"] for event in read_events(run.folder)] == [1]


def test_a_ruined_state_is_not_saved_even_where_the_loss_was_finite(tmp_path, monkeypatch):
    monkeypatch.setattr(_drive, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(Diverged, match=r"walk.place is no longer finite at step 6 of 12"):
        go(tmp_path / "r", walk=Broken(5, "state"))


def test_in_the_first_epoch_nothing_was_saved(tmp_path):
    with pytest.raises(Diverged, match="there is no checkpoint yet"):
        go(tmp_path / "r", walk=Broken(1, "metric"))


def test_minus_infinity_may_stand_in_a_mask(tmp_path):
    class Masked(Walk):
        def state_dict(self):
            return super().state_dict() | {"mask": torch.tensor([0.0, -math.inf])}

    go(tmp_path / "r", walk=Masked())


def test_a_full_disk_stops_the_run(tmp_path, monkeypatch):
    def full(self, tree):
        raise UserError("cannot write")

    monkeypatch.setattr(Run, "save", full)
    with pytest.raises(UserError, match="cannot write"):
        go(tmp_path / "r")


# --- means


def test_means_come_back_exactly():
    means, other = Means(), Means()
    for k in range(3):
        means.add({"a": torch.rand(()), **({"b": torch.tensor(0.1)} if k else {})})
    other.load_state_dict(means.state_dict())
    for one in (means, other):
        one.add({"a": torch.tensor(1 / 3), "b": torch.tensor(0.7)})
    assert means.take() == other.take()
    assert means.take() == {}
