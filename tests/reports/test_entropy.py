"""Whether a search has decided: the entropy of its policy, beside that of an even one."""

import json
import math
from pathlib import Path

import pytest
from scipy.stats import entropy

from renascent.experiment.result import Result
from renascent.reports.entropy import policy_entropy
from renascent.reports.page import write_report
from renascent.reports.summary import summary
from tests.reports.conftest import FOUND

WIDTHS = ("width-0", "width-1", "width-2", "width-3", "width-4")

FACTS = FOUND | {"space": "nats-size", "arch": "8:16:24:32:64", "strategy": "tas", "space_config": {}}


def result(folder: Path, last: list[float], **settings: float) -> Result:
    """Write a search of two epochs, whose last entropies are these."""
    config = {key: FACTS[key] for key in ("space", "space_config", "strategy", "seed")}
    config |= {"strategy_config": settings, "task": {"name": "digits"}, "weights": {}, "epochs": 2}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "environment.json").write_text(json.dumps({"sessions": []}))
    about = {"event": "epoch", "epochs": 2, "likeliest": FACTS["arch"], "train_loss": 1.0, "val_loss": 1.0}
    events = [
        {**about, "epoch": k, "entropy": dict(zip(WIDTHS, nats, strict=True))}
        for k, nats in ((1, [1.0] * 5), (2, last))
    ]
    (folder / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return Result(folder, FACTS)


@pytest.mark.parametrize(("kept", "said"), [(0.5, False), (0.2, True)])
@pytest.mark.renders
def test_a_policy_that_hardly_moved_is_said_to_be_undecided(kept: float, said: bool, tmp_path: Path) -> None:
    """One option of eight has the probability `kept` in three decisions; two are even."""
    some = float(entropy([kept, *[(1 - kept) / 7] * 7]))
    even = float(entropy([1 / 8] * 8))
    found = result(tmp_path, [some, even, some, even, some], arch_lr=0.002)
    policy = policy_entropy(found)
    assert policy is not None
    assert (policy.start, policy.end) == pytest.approx((even, (3 * some + 2 * even) / 5))
    assert (policy.end > 0.9 * policy.start) is said is bool(policy.undecided)
    text, page = summary(found), write_report(found).read_text()
    assert f"policy entropy          {policy.end:.3f} nats at the end, 2.079 at the start" in text
    assert ("stayed undecided" in text) is ("stayed undecided" in page) is said
    assert ("a larger arch_lr (--arch-lr) than 0.002, or more epochs than 2, would let them" in page) is said


def test_a_policy_without_logits_that_learn_has_nothing_to_say(tmp_path: Path) -> None:
    assert policy_entropy(result(tmp_path, [2.0] * 5, candidates=100)) is None
    (tmp_path / "events.jsonl").write_text("no event\n")
    found = Result(tmp_path, FACTS)
    assert "policy entropy" not in summary(found)
    (tmp_path / "events.jsonl").unlink()
    assert policy_entropy(found) is None


def test_a_rate_that_the_strategy_chose_is_told_as_the_number_it_was(tmp_path: Path) -> None:
    found = result(tmp_path, [math.log(8)] * 5, arch_lr="auto")
    assert policy_entropy(found) is None  # a folder whose epochs do not say
    events = (tmp_path / "events.jsonl").read_text().replace('"epochs"', '"policy_lr": 0.009, "epochs"')
    (tmp_path / "events.jsonl").write_text(events)
    policy = policy_entropy(found)
    assert policy is not None
    assert policy.rate == ("arch_lr", 0.009)


def test_a_search_without_an_architecture_step_is_told_so_and_no_rate_is_blamed(tmp_path: Path) -> None:
    found = result(tmp_path, [math.log(8)] * 5, arch_lr=0.01)
    events = (tmp_path / "events.jsonl").read_text().replace(', "val_loss": 1.0', "")
    (tmp_path / "events.jsonl").write_text(events)
    policy = policy_entropy(found)
    assert policy is not None
    assert "too short for an architecture step" in policy.undecided and "arch_lr" not in policy.undecided
    assert "more epochs than 2, or a smaller batch" in policy.undecided
