"""What people train with: class weights, functions of their own, AdamW, warm-up, MixUp, RandAugment."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional

from renascent.core.errors import MissingExtra, UserError
from renascent.core.protocols import Loss, WeightRule
from renascent.core.schema import checked, with_defaults, written
from renascent.loops import _drive
from renascent.loops.criterion import mixed, weights_of
from renascent.loops.evaluate import examine
from renascent.loops.fit import Fit, Fitted, fit
from renascent.loops.own import drawn, own_augmentation
from renascent.loops.run import Run
from renascent.loops.training import ADAMW
from renascent.tasks.augment import Augmentation
from renascent.tasks.images import ImageTask
from renascent.tasks.toy import ToyTask

OWN = """
import random
import numpy as np
import torch
from torch.nn import functional

def squared(logits, labels):
    return ((logits.softmax(1) - functional.one_hot(labels, logits.shape[1])) ** 2).sum(1).mean()

def other(logits, labels):
    return squared(logits, labels)

def top2(logits, labels):
    return (logits.topk(2).indices == labels[:, None]).any(1).float().mean()

def noisy(x):
    return x + torch.rand(len(x), 1, 1, 1) + random.random() + float(np.random.rand())

def many(logits, labels):
    return functional.cross_entropy(logits, labels, reduction="none")

def failing(x, y=None):
    raise KeyError("no such thing")

def narrow(x):
    return x[:, :, 1:]
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's in the current folder."""
    (tmp_path / "my_pieces.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_pieces"
    sys.modules.pop("my_pieces", None)


def net(seed: int = 0, inputs: int = 48, classes: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(inputs, classes))


def train(folder: Path, model: nn.Module | None = None, *, resume: bool = False, **about: Any) -> Fitted:
    settings = Fit(**{"epochs": 3, "batch": 32, **about})
    run = Run.start(folder, {"settings": written(settings)}, resume=resume, kinds={"settings": Fit})
    return fit(model or net(), ToyTask(count_each=64), settings, run=run)


def steps(settings: Fit, optimiser: Callable[..., Any], rates: list[float], loss: Callable[..., Tensor]) -> nn.Module:
    """Return a network after the steps of a training, written out. loss: of network, images and labels."""
    model = net().train()
    opt, stream = optimiser(model.parameters()), ToyTask(count_each=64).stream("train+val", 0, settings.batch)
    for step, rate in enumerate(rates):
        torch.manual_seed(step)
        x, y = stream.next()
        opt.zero_grad()
        loss(model, x, y).backward()
        opt.param_groups[0]["lr"] = rate
        opt.step()
    return model


def cosine(start: float, count: int) -> list[float]:
    return [start * (1 + np.cos(np.pi * k / (count - 1))) / 2 for k in range(count)]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)


def assert_equal(mine: nn.Module, other: nn.Module) -> None:
    for a, b in zip(mine.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def uneven(seed: int = 0, noise: float = 5.0) -> ImageTask:
    """Threes and eights of the digits, nine to one in the training, even in the test, hard to tell apart."""
    digits, rng = load_digits(), np.random.default_rng(seed)
    images = (digits.images + rng.normal(0, noise, digits.images.shape)).astype(np.float32) / 16
    threes, eights = (np.flatnonzero(digits.target == label) for label in (3, 8))
    chosen = np.concatenate([threes[:90], eights[:10], threes[90:], eights[90:]])
    x, y = torch.from_numpy(images[chosen])[:, None], torch.from_numpy((digits.target[chosen] == 8).astype(np.int64))
    plain = Augmentation(flip=False, pad=0)
    about: Any = {"class_names": ("three", "eight"), "device": "cpu", "augmentation": plain}
    return ImageTask.from_tensors(x[:100], y[:100], val=0.2, test=(x[100:], y[100:]), **about)


# --- class weights


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    task = uneven()
    labels = torch.cat([y for _, y in task.batches("train+val", 7)])
    assert torch.equal(task.labels("train+val"), labels)
    known = compute_class_weight("balanced", classes=np.arange(2), y=labels.numpy())
    assert weights_of("balanced", task, "train+val").tolist() == pytest.approx(known)
    assert weights_of("1,2.5e1", task, "train").tolist() == [1.0, 25.0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("1,2,3", "class_weights are 3 numbers, and the data have 2 classes: give one for each, in the order three, e"),
        ("0,1", "class_weights are 0,1: give finite numbers above 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, given: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        fit(net(inputs=64, classes=2), uneven(), Fit(class_weights=given), run=Run(tmp_path, {}))


def test_a_class_without_images_has_no_balanced_weight() -> None:
    class Without(ToyTask):
        def labels(self, split: str) -> Tensor:
            return super().labels(split).clamp(max=2)

    with pytest.raises(UserError, match="class '3' has no images to train on, and so no balanced weight: give numbers"):
        weights_of("balanced", Without(count_each=8), "train")


@pytest.mark.parametrize("given", ["fair", "1,-2", "1,,2", ""])
def test_what_are_no_class_weights_is_refused(given: str) -> None:
    with pytest.raises(UserError, match="give balanced, or a number for each class, such as 1,9"):
        Fit(class_weights=given)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_training_is_these_steps(tmp_path: Path, smoothing: float) -> None:
    weight = torch.tensor([1.0, 2.0, 0.5, 4.0])
    settings = Fit(epochs=3, batch=32, class_weights="1,2,0.5,4", label_smoothing=smoothing)

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        logs = model(x).log_softmax(1)
        own = -(weight[y] * logs[torch.arange(len(y)), y]).sum()
        spread = -(weight * logs).sum() / 4
        return ((1 - smoothing) * own + smoothing * spread) / weight[y].sum()

    fitted = train(tmp_path / "r", class_weights="1,2,0.5,4", label_smoothing=smoothing)
    assert_equal(fitted.net, steps(settings, sgd, cosine(0.1, 12), loss))


def test_class_weights_raise_the_balanced_accuracy_of_nine_to_one(tmp_path: Path) -> None:
    """Over three seeds, of data and network, each of them higher; the plain training takes most for the many."""
    found: dict[str, list[float]] = {"plain": [], "balanced": []}
    for seed in range(3):
        for name, weights in (("plain", None), ("balanced", "balanced")):
            settings = Fit(epochs=4, batch=16, class_weights=weights, weights=WeightRule(lr=0.02, clip=0.0))
            task, run = uneven(seed), Run(tmp_path / f"{name}-{seed}", {})
            run.folder.mkdir()
            fitted = fit(net(seed, 64, 2), task, settings, run=run, seed=seed)
            found[name].append(fitted.by_class["test"].balanced_accuracy)
    assert all(one > other for one, other in zip(found["balanced"], found["plain"], strict=True)), found
    assert mean(found["balanced"]) > mean(found["plain"]) + 0.1, found


# --- figures of each class


def test_figures_of_each_class_are_those_of_scikit_learn() -> None:
    task, model = uneven(), net(3, 64, 2).eval()
    found = examine(model, task, "test").by_class
    labels = task.labels("test").numpy()
    (x, _), *_ = task.batches("test", 10_000)
    guessed = model(x).argmax(1).numpy()
    assert found is not None
    assert found.images == tuple(np.bincount(labels))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, guessed))
    assert found.recall == pytest.approx(recall_score(labels, guessed, average=None))
    assert found.precision == pytest.approx(precision_score(labels, guessed, average=None))


def test_a_class_that_is_never_there_or_never_taken_has_no_figure() -> None:
    always = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        always[1].weight.zero_()
        always[1].bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    x, y = torch.rand(6, 1, 4, 4), torch.tensor([0, 0, 1, 1, 2, 1])
    task = ImageTask(x, y, {"train": [0, 2, 4], "val": [1, 3, 5]}, device="cpu")
    found = examine(always, task, "val").by_class
    assert found is not None
    assert (found.recall, found.precision) == ((1.0, 0.0, None), (pytest.approx(1 / 3), None, None))
    assert found.balanced_accuracy == 0.5


def test_answers_that_are_no_classes_have_no_figures() -> None:
    class Distances(ToyTask):
        def loss(self, net: Any, batch: Any, *given: Any, **about: Any) -> Loss:
            x, y = batch
            return Loss((net(x)[:, 0] - y).square().mean(), torch.tensor(0.5))

    assert examine(net(classes=1), Distances(count_each=8), "val").by_class is None


# --- functions of one's own


def test_an_own_loss_is_minimised_and_an_own_metric_told(tmp_path: Path, own: str) -> None:
    fitted = train(tmp_path / "r", loss=f"{own}:squared", metric=f"{own}:top2")

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return ((model(x).softmax(1) - functional.one_hot(y, 4)) ** 2).sum(1).mean()

    assert_equal(fitted.net, steps(Fit(batch=32), sgd, cosine(0.1, 12), loss))
    (x, y), *_ = ToyTask(count_each=64).batches("test", 1000)
    hits = [int(label) in row for row, label in zip(fitted.net.eval()(x).topk(2).indices.tolist(), y, strict=True)]
    assert fitted.metrics == {"test": pytest.approx(mean(hits))}


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"loss": "{}:many"}, r"loss 'my_pieces:many' returns shape \(8,\): give a scalar tensor with a gradient"),
        (
            {"loss": "{}:failing"},
            r"loss 'my_pieces:failing' fails \(KeyError: 'no such thing'\): give a function of lo",
        ),
        (
            {"loss": "{}:missing"},
            "loss: module 'my_pieces' has no 'missing': give module:function, as in my_p",
        ),
        ({"loss": "squared"}, "loss: 'squared' names no function: write module:function, as in my_training:mine"),
        ({"metric": "nowhere_at_all:f"}, r"metric: module 'nowhere_at_all' cannot be imported \(ModuleNotFoundError"),
        ({"metric": "{}:many"}, r"metric 'my_pieces:many' fails \(\w+Error: "),
        ({"augmentation": "{}:narrow"}, r"makes shape \(32, 3, 3, 4\) of torch.float32 of shape \(32, 3, 4, 4\) of"),
        ({"augmentation": "{}:failing"}, r"augmentation 'my_pieces:failing' fails \(KeyError"),
    ],
)
def test_functions_that_cannot_be_used_are_refused(tmp_path: Path, own: str, about: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        train(tmp_path / "r", **{key: value.format(own) for key, value in about.items()})


def test_an_own_loss_excludes_what_is_of_cross_entropy() -> None:
    with pytest.raises(UserError, match="loss is 'a:b', and class_weights is of cross-entropy: leave one of them out"):
        Fit(loss="a:b", class_weights="balanced")


def test_an_augmentation_draws_the_same_for_the_same_batch(own: str) -> None:
    change, x = own_augmentation(f"{own}:noisy"), torch.zeros(2, 1, 2, 2)
    first, again, other = (change(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_draws_inside_leave_those_outside_as_they_were() -> None:
    def following() -> tuple[float, ...]:
        return float(torch.rand(())), random.random(), float(np.random.rand())  # noqa: NPY002

    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(3)
    known = following()
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(3)
    with drawn(torch.Generator()):
        assert following() != known
    assert following() == known


def test_a_task_that_knows_of_no_other_loss_says_so(tmp_path: Path, own: str) -> None:
    class Old(ToyTask):
        def loss(self, net: Any, batch: Any, gates: Any = None, *, smoothing: float = 0.0) -> Loss:
            return super().loss(net, batch, gates, smoothing=smoothing)

    with pytest.raises(UserError, match=r"the task toy takes no loss, class weights or mixup .* the keyword `criterio"):
        fit(net(), Old(), Fit(mixup=0.2), run=Run(tmp_path, {}))


def test_a_resume_with_another_function_is_refused_by_name(tmp_path: Path, own: str) -> None:
    train(tmp_path / "r", loss=f"{own}:squared")
    with pytest.raises(UserError, match=r"settings\.loss was 'my_pieces:squared', now 'my_pieces:other'"):
        train(tmp_path / "r", loss=f"{own}:other", resume=True)
    with pytest.raises(UserError, match=r"settings\.loss was 'my_pieces:squared', now None"):
        train(tmp_path / "r", resume=True)


def test_sources_follow_the_text_of_functions(own: str) -> None:
    one, other = (Fit(loss=f"{own}:{name}", metric=f"{own}:top2").sources for name in ("squared", "other"))
    assert one.keys() == {"loss"}
    assert one != other
    assert Fit(loss="torch:sum").sources == {}  # no text of Python


# --- AdamW, warm-up


def test_adamw_with_warm_up_is_these_steps(tmp_path: Path) -> None:
    def adamw(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=1e-3)

    fitted = train(tmp_path / "r", optimiser="adamw", warmup=1)
    rates = [0.001 * k / 4 for k in (1, 2, 3, 4)] + cosine(0.001, 8)
    assert_equal(
        fitted.net, steps(Fit(batch=32), adamw, rates, lambda model, x, y: functional.cross_entropy(model(x), y))
    )


def test_adamws_decay_is_decoupled() -> None:
    """Without a gradient a weight shrinks by lr * decay of itself, which Adam with an L2 penalty would not do."""
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    rule = WeightRule(lr=0.1, lr_end=0.1, weight_decay=0.5, clip=0.0)
    optimiser = rule.adamw(layer)
    for p in layer.parameters():
        p.grad = torch.zeros_like(p)
    rule.apply(optimiser, 0.0)
    torch.testing.assert_close(layer.weight.detach(), before * (1 - 0.1 * 0.5))


def test_adamw_has_a_rule_of_its_own_unless_one_is_given() -> None:
    assert Fit(optimiser="adamw").weights == ADAMW
    given = WeightRule(lr=0.01)
    assert Fit(optimiser="adamw", weights=given).weights == given
    with pytest.raises(UserError, match="momentum is 1, and AdamW's has to be below"):
        Fit(optimiser="adamw", weights=WeightRule(momentum=1.0))
    with pytest.raises(UserError, match="warmup is 3 of 3 epochs: give less than all of them"):
        Fit(epochs=3, warmup=3)


# --- MixUp, RandAugment


def test_mixup_is_the_formula() -> None:
    x, y = torch.rand(6, 1, 2, 2), torch.arange(6) % 3
    torch.manual_seed(5)
    (given, labels), minimised = mixed((x, y), 0.4, functional.cross_entropy)
    torch.manual_seed(5)
    share, order = torch.distributions.Beta(0.4, 0.4).sample(), torch.randperm(6)
    logits = torch.randn(6, 3)
    logs = logits.log_softmax(1)
    target = share * functional.one_hot(y, 3) + (1 - share) * functional.one_hot(y[order], 3)
    assert 0 < share < 1
    torch.testing.assert_close(given, share * x + (1 - share) * x[order])
    assert torch.equal(labels, y)
    torch.testing.assert_close(minimised(logits, labels), -(target * logs).sum(1).mean())


def test_randaugment_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.transforms", None)
    with pytest.raises(MissingExtra, match=r"'torchvision' is not installed: pip install 'renascent\[vision\]'"):
        train(tmp_path / "r", randaugment=2)


def test_randaugment_needs_pictures(tmp_path: Path) -> None:
    task = ToyTask(count_each=64, channels=4)
    with pytest.raises(UserError, match="these have 4 channels"):
        fit(net(inputs=64), task, Fit(randaugment=2), run=Run(tmp_path, {}))


def test_randaugment_changes_each_image_and_the_same_again() -> None:
    pytest.importorskip("torchvision")
    from renascent.loops.change import change_of

    x = torch.randint(256, (8, 3, 12, 12), dtype=torch.uint8)
    task = ImageTask.from_tensors(x, torch.arange(8) % 2, device="cpu")
    change = change_of(task, Fit(randaugment=2))
    assert change is not None
    first, again, other = (change(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first.shape, first.dtype) == (x.shape, x.dtype)


# --- resuming


@pytest.mark.parametrize(
    "about",
    [
        {"optimiser": "adamw", "warmup": 1, "mixup": 0.4, "class_weights": "balanced"},
        {"augmentation": "my_pieces:noisy", "loss": "my_pieces:squared"},
    ],
)
def test_resumed_in_the_middle_of_an_epoch_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, about: Any
) -> None:
    monkeypatch.setattr(_drive, "CHECKPOINT_SECONDS", -1.0)
    whole, seen = train(tmp_path / "whole", **about), []

    def killed(module: nn.Module, given: Any) -> None:
        seen.append(given)
        if len(seen) == 7:
            raise KeyError("killed")

    model = net()
    model.register_forward_pre_hook(killed)
    with pytest.raises(KeyError):
        train(tmp_path / "r", model, **about)
    random.seed(99)
    again = train(tmp_path / "r", net(9), resume=True, **about)
    for a, b in zip(whole.net.state_dict().values(), again.net.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert whole.scores == again.scores


def test_settings_of_before_are_those_of_now_left_alone(tmp_path: Path) -> None:
    """Whatever was added since: a key that a folder lacks is the default, and so a resume goes on."""
    now = written(Fit(epochs=3, batch=32))
    assert set(now) <= set(with_defaults(Fit, {}))
    old = {"epochs": 3, "batch": 32, "weights": {"lr": 0.1, "lr_end": 0.0, "clip": 0.0}}
    assert checked(Fit, with_defaults(Fit, old), tmp_path, "") == Fit(epochs=3, batch=32)
    Run.start(tmp_path / "r", {"settings": old})
    train(tmp_path / "r", resume=True)
    Run.start(tmp_path / "s", {"settings": old | {"ema": 0.5}})
    with pytest.raises(UserError, match=r"\(settings.ema was 0.5, now 0.0\)"):
        train(tmp_path / "s", resume=True)
