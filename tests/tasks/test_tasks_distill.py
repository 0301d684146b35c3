"""Distillation: the loss and its gradient against the written formula, and what a teacher does not change."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.fingerprint import fingerprint
from renascent.loops.evaluate import judge
from renascent.tasks.distill import Agreeing, Distillation, Distilled
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions
from renascent.tasks.toy import ToyTask

CLASSES = 4


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def formula(d: Distillation, student: np.ndarray, teacher: np.ndarray, y: np.ndarray) -> float:
    """Label loss and Kullback-Leibler divergence, written out."""
    label = -np.mean(np.log(softmax(student)[np.arange(len(y)), y]))
    q, p = softmax(teacher / d.temperature), softmax(student / d.temperature)
    kl = np.mean(np.sum(q * np.log(q / p), 1))
    factor = d.temperature**2 if d.temperature_squared else 1.0
    return float(d.label_weight * label + d.soft_weight * factor * kl)


class Fixed(nn.Module):
    """Answers the same logits whatever it sees."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[: len(x)]


class Calls(nn.Module):
    """A teacher with batch normalisation and dropout, which counts and notes how it is asked."""

    def __init__(self, classes: int = CLASSES, channels: int = 3) -> None:
        super().__init__()
        self.norm, self.last = nn.BatchNorm2d(channels), nn.Linear(channels, classes)
        self.seen: list[tuple[Any, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((self.training, torch.is_grad_enabled(), x.dtype, x))
        return self.last(nn.functional.dropout(self.norm(x), 0.5, self.training).mean((2, 3)))


def draw(seed: int = 0, batch: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, batch, CLASSES, generator=rng, dtype=torch.float64) * 3
    return logits[0], logits[1], torch.randint(CLASSES, (batch,), generator=rng)


def batch_of(task: ToyTask, y: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros(len(y), task.channels, *task.size), y


SETTINGS = [
    Distillation(),
    Distillation.recipe(large_images=True),
    Distillation.as_printed(),
    Distillation(label_weight=0.0, soft_weight=2.0, temperature=1.5),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=["recipe", "imagenet", "printed", "soft only"])
def test_loss_and_gradient_are_those_of_the_formula(settings: Distillation) -> None:
    z_s, z_t, y = draw()
    student, task = Fixed(z_s), ToyTask()
    found = Distilled(task, Fixed(z_t), settings).loss(student, batch_of(task, y))
    arrays = z_s.numpy(), z_t.numpy(), y.numpy()
    assert float(found.loss.detach()) == pytest.approx(formula(settings, *arrays), rel=1e-12)
    found.loss.backward()
    step, slope = 1e-6, np.zeros_like(arrays[0])
    for place in np.ndindex(*slope.shape):
        moved = np.zeros_like(slope)
        moved[place] = step
        ends = [formula(settings, arrays[0] + sign * moved, *arrays[1:]) for sign in (1, -1)]
        slope[place] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(student.logits.grad, slope, atol=1e-8)
    assert float(found.score) == pytest.approx(np.mean(arrays[0].argmax(1) == arrays[2]))


def test_as_printed_has_the_gradient_of_the_printed_cross_entropy() -> None:
    z_s, z_t, y = draw(3)
    student, task = Fixed(z_s), ToyTask()
    Distilled(task, Fixed(z_t), Distillation.as_printed(0.9)).loss(student, batch_of(task, y)).loss.backward()
    z = z_s.clone().requires_grad_()
    soft = -((z_t / 4).softmax(1) * (z / 4).log_softmax(1)).sum(1).mean()
    label = -z.log_softmax(1)[torch.arange(len(y)), y].mean()
    (0.9 * label + 0.1 * soft).backward()
    torch.testing.assert_close(student.logits.grad, z.grad, rtol=1e-12, atol=1e-14)


def test_at_a_high_temperature_the_gradient_is_the_difference_of_the_centred_logits() -> None:
    """Hinton et al., Eq. 4: (z_s - z_t) / N an image, whatever the temperature, because of T^2."""
    z_s, z_t, _ = draw(1)
    for temperature in (1e3, 1e4):
        z = z_s.clone().requires_grad_()
        settings = Distillation(label_weight=0.0, soft_weight=1.0, temperature=temperature)
        settings.soft_loss(z, z_t).backward()
        centred = (z_s - z_s.mean(1, keepdim=True)) - (z_t - z_t.mean(1, keepdim=True))
        expected = centred / CLASSES / len(z_s)
        torch.testing.assert_close(z.grad, expected, rtol=0.0, atol=10 / temperature)
    plain = Distillation(label_weight=0.0, soft_weight=1.0, temperature=1e3, temperature_squared=False)
    z = z_s.clone().requires_grad_()
    plain.soft_loss(z, z_t).backward()
    assert z.grad is not None
    assert float(z.grad.norm()) < 1e-5 * float(expected.norm())


def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn_from_it() -> None:
    z, _, _ = draw()
    assert float(Distillation().soft_loss(z, z)) == pytest.approx(0.0, abs=1e-12)


def test_smoothing_is_of_the_labels_alone() -> None:
    z_s, z_t, y = draw()
    task, settings = ToyTask(), Distillation(label_weight=0.5, soft_weight=0.5)
    batch = batch_of(task, y)
    found = Distilled(task, Fixed(z_t), settings).loss(Fixed(z_s), batch, smoothing=0.1).loss
    own = task.loss(Fixed(z_s), batch, smoothing=0.1).loss
    assert float(found.detach()) == pytest.approx(float((0.5 * own + settings.soft_loss(z_s, z_t)).detach()), rel=1e-12)


def test_the_teacher_answers_once_a_batch_in_evaluation_mode_and_its_own_precision() -> None:
    task, teacher = ToyTask(), Calls().double()
    before = fingerprint(teacher.state_dict())
    taught = Distilled(task, teacher)
    teacher.seen.clear()
    teacher.train()
    batch = task.stream("train", 0, 8).next()
    student = Calls()
    taught.loss(student, batch).loss.backward()
    ((training, gradient, kind, x),) = teacher.seen
    assert (training, gradient, kind) == (False, False, torch.float64)
    assert torch.equal(x.float(), batch[0])
    assert len(student.seen) == 1
    taught.loss(student, batch)  # as a sandwich step has several networks learn from a batch
    assert len(student.seen) == 2 and len(teacher.seen) == 1
    batch[0].mul_(2)
    taught.loss(student, batch)
    assert len(teacher.seen) == 2 and torch.equal(teacher.seen[1][3].float(), batch[0])
    assert fingerprint(teacher.state_dict()) == before
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize(("kind", "beside"), [(torch.float32, torch.bfloat16), (torch.float64, torch.float64)])
def test_a_teacher_of_single_precision_computes_in_bfloat16_beside_a_student_that_does(
    kind: torch.dtype, beside: torch.dtype
) -> None:
    parts = (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, CLASSES)) for _ in range(2))
    task, (student, teacher) = ToyTask(), parts
    batch = task.stream("train", 0, 8).next()
    taught, answers = Distilled(task, teacher.to(kind)), []
    teacher.register_forward_hook(lambda module, seen, out: answers.append(out.dtype))
    alone = taught.loss(student, batch).loss.detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = taught.loss(student, batch).loss.detach()
    assert answers == [kind, beside]
    assert alone.dtype == low.dtype == torch.float32
    assert float(low) == pytest.approx(float(alone), rel=0.02)


def test_a_student_in_double_precision_keeps_it() -> None:
    z_s, z_t, y = draw()
    task = ToyTask()
    found = Distilled(task, Fixed(z_t.float())).loss(Fixed(z_s), batch_of(task, y))
    assert found.loss.dtype == torch.float64


def test_gates_reach_the_student_and_not_the_teacher() -> None:
    task, teacher = ToyTask(), Calls()
    heard: list[Any] = []

    def supernet(x: Tensor, gates: Any) -> Tensor:
        heard.append(gates)
        return torch.zeros(len(x), CLASSES, requires_grad=True)

    gates: Any = {"a": 1}
    Distilled(task, teacher).loss(supernet, task.stream("train", 0, 8).next(), gates)
    assert heard == [gates]


def test_without_gradient_the_loss_is_the_tasks_own_and_nobody_is_asked() -> None:
    task, teacher, student = ToyTask(), Calls(), Calls()
    taught = Distilled(task, teacher)
    teacher.seen.clear()
    assert judge(student, taught, "val") == judge(student, task, "val")
    assert teacher.seen == []


def test_data_streams_and_counts_are_those_of_the_task() -> None:
    task = load("digits", options=ImageOptions(limit=100))
    taught = Distilled(task, Calls(10, 1))
    assert (taught.name, taught.channels, taught.size, taught.classes) == ("digits", 1, (8, 8), 10)
    assert [taught.count(split) for split in ("train", "val", "test")] == [50, 50, 359]
    pairs = [
        (taught.stream("train", 1, 8).next(), task.stream("train", 1, 8).next()),
        (taught.streams(1, 8).val.next(), task.streams(1, 8).val.next()),
        (taught.batches("test", 64)[1], task.batches("test", 64)[1]),
    ]
    assert all(torch.equal(mine[0], other[0]) for mine, other in pairs)
    assert repr(taught) == f"Distilled({task!r}, Calls)"


def test_the_description_tells_teachers_and_settings_apart() -> None:
    task, teacher = ToyTask(), Calls()
    said = Distilled(task, teacher).describe()
    assert said == Distilled(task, teacher).describe()
    assert {k: v for k, v in said.items() if k != "distillation"} == task.describe()
    assert said != Distilled(task, teacher, Distillation(temperature=2.0)).describe()
    with torch.no_grad():
        teacher.last.bias[0] += 1e-6
    assert said != Distilled(task, teacher).describe()


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (Calls(classes=5), r"returns the shape \(2, 5\) for 2 images, and the data have 4 classes: give one"),
        (Calls(channels=1), r"cannot answer for images \(channels, h, w\) = \(3, 4, 4\) \(.+\): give one that was"),
    ],
)
def test_a_teacher_of_something_else(teacher: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Distilled(ToyTask(), teacher)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0: give a number of at least 0.01"),
        ({"soft_weight": -1.0}, "soft_weight is -1.0: give a number of at least 0"),
        ({"label_weight": 0.0, "soft_weight": 0.0}, "both 0, which leaves no loss"),
    ],
)
def test_settings_that_cannot_be(about: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Distillation(**about)  # type: ignore[arg-type]


def test_agreement_is_minus_torchs_divergence_and_the_teacher_answers_a_batch_once() -> None:
    torch.manual_seed(3)
    task, asked = load("digits", options=ImageOptions(limit=60)), list[int]()
    teacher, student = (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double() for _ in range(2))
    same, agreeing = copy.deepcopy(teacher), Agreeing(task, teacher)
    teacher.register_forward_hook(lambda *given: asked.append(1))
    first, second, *_ = task.batches("val", 10)
    for x, y in (first, first, second):
        with torch.no_grad():
            p, q = (net(x.double()).log_softmax(1) for net in (same, student))
        expected = nn.functional.kl_div(q, p, reduction="batchmean", log_target=True)
        found = agreeing.loss(lambda x: student(x.double()), (x, y))
        assert abs(float(found.score) + float(expected)) < 1e-12
        assert float(found.score) < 0 and not found.score.requires_grad and found.loss.requires_grad
    assert len(asked) == 2
    assert float(agreeing.loss(lambda x: same(x.double()), second).score) == pytest.approx(0, abs=1e-12)
