"""Training a fixed network: against the same steps written out, resumed, and each option's arithmetic."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from renascent.core.errors import Diverged, Interrupted, UserError
from renascent.core.protocols import WeightRule
from renascent.core.schema import written
from renascent.loops import _drive
from renascent.loops.evaluate import accuracy, judge, recalibrate
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run, read_events
from renascent.tasks.distill import Distillation, Distilled
from renascent.tasks.toy import ToyTask

RULE = WeightRule(lr=0.1, lr_end=0.0, clip=0.0)


class Net(nn.Module):
    """A network with batch normalisation and something to drop."""

    def __init__(self, drop_path=True) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(16, 4)
        self.seen = []
        if drop_path:
            self.drop_path = 0.0

    def forward(self, x):
        if self.training:
            self.seen.append(getattr(self, "drop_path", None))
        x = self.norm(self.first(x)).relu().flatten(1)
        return self.last(F.dropout(x, 0.2, self.training))


class Killed(Net):
    """In the middle of its second epoch."""

    def forward(self, x):
        if len(self.seen) == 6:
            raise KeyError("killed")
        return super().forward(x)


def net(seed=0, kind=Net, **about):
    torch.manual_seed(seed)
    return kind(**about)


def task():
    return ToyTask(count_each=64)


def train(folder, model=None, *, resume=False, seed=0, task=task, evaluate=("test",), **about):
    settings = Fit(epochs=about.pop("epochs", 3), batch=about.pop("batch", 32), weights=RULE, **about)
    run = Run.start(folder, {}, resume=resume)
    return fit(model or net(), task(), settings, run=run, seed=seed, evaluate=evaluate)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_default_is_the_benchmarks_setting():
    rule = WeightRule(lr=0.1, lr_end=0.0, momentum=0.9, nesterov=True, weight_decay=5e-4, clip=0.0)
    assert Fit() == Fit(epochs=200, batch=256, weights=rule, label_smoothing=0.0, drop_path=0.0, ema=0.0, auxiliary=0.0)


def test_a_run_folder_says_nothing_of_an_auxiliary_head_that_is_not_there():
    """As those of before, which a resume compares with."""
    assert "auxiliary" not in written(Fit())
    assert written(Fit(auxiliary=0.4))["auxiliary"] == 0.4


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_these_steps(tmp_path, smoothing):
    fitted = train(tmp_path / "r", label_smoothing=smoothing)
    model, data = net().train(), task()
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    stream = data.stream("train+val", 0, 32)
    assert stream.steps_per_epoch == 4
    for step in range(12):
        torch.manual_seed(step)
        x, y = stream.next()
        target = F.one_hot(y, 4) * (1 - smoothing) + smoothing / 4
        loss = -(target * model(x).log_softmax(1)).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * step / 11))
        optimiser.step()
    for mine, other in zip(fitted.net.state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    event = read_events(tmp_path / "r")[-1]
    assert (event["event"], event["scores"]) == ("fitted", fitted.scores)


def test_it_learns_and_evaluates_what_was_asked(tmp_path):
    fitted = train(tmp_path / "r", epochs=20, evaluate=("train", "test"), task=lambda: ToyTask(count_each=128))
    assert set(fitted.scores) == {"train", "test"}
    assert fitted.scores["train"] > 0.6
    assert fitted.scores["test"] > 0.35  # chance is 0.25
    assert fitted.seconds > 0


def resumed(folder, monkeypatch, kinds=(Net, Killed), **about):
    """Return what a training of one go finds, after checking that one killed in the middle of an epoch does, too."""
    monkeypatch.setattr(_drive, "CHECKPOINT_SECONDS", -1.0)
    kind, killed = kinds
    whole = train(folder / "whole", net(kind=kind), **about)
    with pytest.raises(KeyError):
        train(folder / "r", net(kind=killed), **about)
    again = train(folder / "r", net(seed=9, kind=kind), resume=True, **about)
    assert equal(weights(again.net), weights(whole.net))
    assert again.scores == whole.scores
    return whole


@pytest.mark.parametrize(
    "about",
    [{}, {"ema": 0.9}, {"drop_path": 0.3, "label_smoothing": 0.1}, {"bf16": True}, {"float64": True, "ema": 0.9}],
)
def test_resumed_in_the_middle_of_an_epoch_it_is_the_same(tmp_path, monkeypatch, about):
    resumed(tmp_path, monkeypatch, **about)


def test_ema_is_the_moving_average_of_the_weights(tmp_path):
    path = []

    class Noted(Net):
        def forward(self, x):
            if self.training:
                path.append(self.last.weight.detach().clone())
            return super().forward(x)

    torch.manual_seed(0)
    model = Noted()
    fitted = train(tmp_path / "r", model, ema=0.7)
    steps = [*path[1:], model.last.weight.detach()]
    average = steps[0]
    for held in steps[1:]:
        average = 0.7 * average + 0.3 * held
    torch.testing.assert_close(fitted.net.last.weight.detach(), average)
    assert fitted.net is not model
    assert torch.isfinite(fitted.net.norm.running_var).all()


def test_drop_path_grows_on_a_straight_line(tmp_path):
    model = net()
    train(tmp_path / "r", model, drop_path=0.6)
    assert model.seen == pytest.approx([0.6 * k / 11 for k in range(12)])


def test_drop_path_needs_a_network_that_has_it(tmp_path):
    with pytest.raises(UserError, match=r"drop_path is 0.1, but Net has no drop_path: leave it at 0"):
        train(tmp_path / "r", net(drop_path=False), drop_path=0.1)


class Headed(Net):
    """A network with a place for an auxiliary head, behind its first convolution."""

    auxiliary_size = 4

    def auxiliary_head(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 4))

    def forward(self, x, auxiliary=None):
        out = super().forward(x)
        return out if auxiliary is None else (out, auxiliary(self.first(x)))


class KilledHeaded(Headed):
    """In the middle of its second epoch."""

    def forward(self, x, auxiliary=None):
        if len(self.seen) == 6:
            raise KeyError("killed")
        return super().forward(x, auxiliary)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_auxiliary_loss_is_added_with_its_weight(tmp_path, smoothing):
    model = net(kind=Headed)
    torch.manual_seed(7)
    fitted = train(tmp_path / "r", model, auxiliary=0.4, label_smoothing=smoothing)
    plain = net(kind=Headed).train()
    torch.manual_seed(7)
    head, data = plain.auxiliary_head(), task()
    optimiser = torch.optim.SGD(
        [*plain.parameters(), *head.parameters()], 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    stream = data.stream("train+val", 0, 32)
    for step in range(12):
        torch.manual_seed(step)
        x, y = stream.next()
        out, aside = plain(x, head)
        loss, second = (F.cross_entropy(logits, y, label_smoothing=smoothing) for logits in (out, aside))
        optimiser.zero_grad()
        (loss + 0.4 * second).backward()
        optimiser.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * step / 11))
        optimiser.step()
    for mine, other in zip(fitted.net.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_the_auxiliary_head_is_no_part_of_what_is_trained(tmp_path):
    model = net(kind=Headed)
    names = set(model.state_dict())
    fitted = train(tmp_path / "r", model, auxiliary=0.4, ema=0.5)
    assert set(fitted.net.state_dict()) == set(model.state_dict()) == names
    assert fitted.net(task().stream("train", 0, 2).next()[0]).shape == (2, 4)


@pytest.mark.parametrize("about", [{}, {"ema": 0.9, "drop_path": 0.3}, {"float64": True}])
def test_with_an_auxiliary_head_it_is_resumed_exactly(tmp_path, monkeypatch, about):
    whole = resumed(tmp_path, monkeypatch, kinds=(Headed, KilledHeaded), auxiliary=0.4, **about)
    assert not equal(weights(whole.net), weights(train(tmp_path / "without", net(kind=Headed), **about).net))


def test_an_auxiliary_head_needs_a_place_and_large_enough_images(tmp_path):
    with pytest.raises(UserError, match=r"auxiliary is 0.4, but Net has no place for an auxiliary head: leave it at 0"):
        train(tmp_path / "r", net(), auxiliary=0.4)
    model = net(kind=Headed)
    model.auxiliary_size = 32
    with pytest.raises(UserError, match=r"reads images of at least 32 x 32, and these are 4 x 4: leave it at 0"):
        train(tmp_path / "s", model, auxiliary=0.4)


def test_bf16_runs_convolutions_in_bfloat16_and_keeps_float32_weights(tmp_path):
    kinds = []
    model = net()
    model.first.register_forward_hook(lambda m, given, out: kinds.append(out.dtype))
    fitted = train(tmp_path / "r", model, bf16=True, epochs=1)
    assert set(kinds[:-1]) == {torch.bfloat16}
    assert {p.dtype for p in fitted.net.parameters()} == {torch.float32}
    plain = train(tmp_path / "p", epochs=1)
    for mine, other in zip(fitted.net.parameters(), plain.net.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0.1, atol=0.02)


def in_double_precision(loss):
    """Return a network after three epochs of steps written out. loss: of its logits, the images and the labels."""
    model = net().double().train()
    optimiser, stream = RULE.optimiser(model), task().stream("train+val", 0, 32)
    for step in range(12):
        torch.manual_seed(step)
        x, y = stream.next()
        optimiser.zero_grad()
        loss(model(x.double()), x, y).backward()
        RULE.apply(optimiser, step / 11)
    return model


def test_float64_computes_in_double_precision(tmp_path):
    fitted = train(tmp_path / "r", float64=True)
    assert {p.dtype for p in fitted.net.parameters()} == {torch.float64}
    model = in_double_precision(lambda logits, x, y: F.cross_entropy(logits, y))
    for mine, other in zip(fitted.net.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)
    assert fitted.scores["test"] == accuracy(fitted.net, task(), "test")


def test_float64_excludes_bf16():
    with pytest.raises(UserError, match="bf16 and float64 are both on"):
        Fit(bf16=True, float64=True)


def test_compile_trains_through_the_compiled_network_and_returns_the_plain_one(tmp_path, monkeypatch):
    """With a compiler that only wraps: a real one takes half a minute."""
    calls = []

    class Compiled(nn.Module):
        def __init__(self, inner, **_):
            super().__init__()
            self._orig_mod = inner

        def forward(self, x):
            calls.append(len(x))
            return self._orig_mod(x)

    monkeypatch.setattr(torch, "compile", Compiled)
    model = net()
    fitted = train(tmp_path / "r", model, compile=True)
    assert calls == [32] * 12
    assert fitted.net is model
    assert equal(weights(model), weights(train(tmp_path / "plain").net))


def test_as_many_networks_of_a_class_as_one_likes_are_compiled(tmp_path, monkeypatch):
    ran, compile_with = [], torch.compile

    def backend(graph, inputs):
        return lambda *given: ran.append(len(ran)) or graph.forward(*given)

    monkeypatch.setattr(torch, "compile", lambda net, **more: compile_with(net, backend=backend, **more))
    for k in range(1, 11):
        before = len(ran)
        model = nn.Sequential(nn.Conv2d(3, k, 3), nn.Flatten(), nn.Linear(4 * k, 4))
        train(tmp_path / str(k), model, epochs=1, batch=128, compile=True)
        assert len(ran) > before


def test_a_loss_that_is_no_number_stops(tmp_path):
    model = net()
    with torch.no_grad():
        model.last.bias[0] = math.nan
    with pytest.raises(Diverged, match=r"train_loss is nan at step 1 of 12 \(epoch 1\): stopped; there is no"):
        train(tmp_path / "r", model)


def test_ctrl_c(tmp_path):
    import signal

    class Pressed(Net):
        def forward(self, x):
            if len(self.seen) == 3:
                signal.raise_signal(signal.SIGINT)
            return super().forward(x)

    whole = train(tmp_path / "whole")
    torch.manual_seed(0)
    with pytest.raises(Interrupted, match="after step 4 of 12"):
        train(tmp_path / "r", Pressed())
    assert equal(weights(train(tmp_path / "r", resume=True).net), weights(whole.net))


# --- with a teacher


@pytest.mark.parametrize("about", [{}, {"ema": 0.9}, {"float64": True}, {"bf16": True, "label_smoothing": 0.1}])
def test_with_a_teacher_it_learns_another_function_and_resumes_the_same(tmp_path, monkeypatch, about):
    teacher = net(seed=3)

    def taught():
        return Distilled(task(), teacher, Distillation(label_weight=0.5, soft_weight=0.5, temperature=2.0))

    whole = resumed(tmp_path, monkeypatch, task=taught, **about)
    assert not equal(weights(whole.net), weights(train(tmp_path / "alone", **about).net))
    assert teacher.seen == []  # it was never in training mode


def test_with_a_teacher_it_is_these_steps(tmp_path):
    teacher = net(seed=3)
    fitted = train(tmp_path / "r", task=lambda: Distilled(task(), teacher), float64=True)

    def loss(logits, x, y):
        target = (teacher.eval()(x).detach().double() / 4).softmax(1)
        soft = (target * (target.log() - (logits / 4).log_softmax(1))).sum(1).mean()
        return 0.1 * F.cross_entropy(logits, y) + 0.9 * 16 * soft

    model = in_double_precision(loss)
    for mine, other in zip(fitted.net.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


# --- measuring


def test_loss_and_accuracy_are_over_the_whole_split_in_evaluation_mode(monkeypatch):
    monkeypatch.setattr("renascent.loops.evaluate.EVALUATION_BATCH", 24)  # 64 = 24 + 24 + 16
    model, data = net().train(), task()
    (x, y) = data.batches("test", 64)[0]
    before = weights(model)
    loss, score = judge(model, data, "test")
    assert model.training
    assert equal(weights(model), before)
    logits = model.eval()(x)
    assert score == accuracy(model, data, "test") == pytest.approx(float((logits.argmax(1) == y).float().mean()))
    assert loss == pytest.approx(float(F.cross_entropy(logits, y).detach()), rel=1e-5)


def test_recalibrate_is_the_mean_over_the_batches():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2, momentum=0.3)).double().train()
    model[0].running_mean.fill_(99.0)
    batches = [(torch.randn(8, 3, 4, 4, dtype=torch.float64) * (k + 1) + k, None) for k in range(3)]
    held = [p.clone() for p in model.parameters()]
    recalibrate(model, batches)
    normal = [F.batch_norm(x, None, None, model[0].weight, model[0].bias, training=True) for x, _ in batches]
    seen = {0: [x for x, _ in batches], 2: [model[1](x) for x in normal]}
    for k, values in seen.items():
        mean = torch.stack([v.mean((0, 2, 3)) for v in values]).mean(0)
        var = torch.stack([v.transpose(0, 1).flatten(1).var(1) for v in values]).mean(0)
        torch.testing.assert_close(model[k].running_mean, mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(model[k].running_var, var, rtol=1e-9, atol=1e-9)
    assert (model[0].momentum, model[2].momentum) == (0.1, 0.3)
    assert model.training
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), held, strict=True))


def test_recalibrate_keeps_evaluation_mode_and_needs_no_norm():
    model = nn.Linear(2, 2).eval()
    recalibrate(model, [(torch.randn(3, 2), None)])
    assert not model.training


# --- watching


def test_watched_splits_are_judged_after_every_epoch_and_change_nothing(tmp_path):
    plain = train(tmp_path / "plain")
    settings = Fit(epochs=3, batch=32, weights=RULE)
    watched = fit(net(), task(), settings, run=Run(tmp_path, {}), watch=("val", "test"))
    assert equal(weights(watched.net), weights(plain.net))
    events = [event for event in read_events(tmp_path) if event["event"] == "epoch"]
    assert [event["epoch"] for event in events] == [1, 2, 3]
    assert events[-1]["test_score"] == watched.scores["test"] == judge(watched.net, task(), "test").score
    assert events[-1]["val_loss"] == judge(watched.net, task(), "val").loss
    assert events[0]["val_loss"] != events[-1]["val_loss"]
    assert "val_loss" not in read_events(tmp_path / "plain")[0]


def test_the_average_is_what_is_watched(tmp_path):
    settings = Fit(epochs=2, batch=32, weights=RULE, ema=0.9)
    fitted = fit(net(), task(), settings, run=Run(tmp_path, {}), watch=("val",))
    assert read_events(tmp_path)[-2]["val_loss"] == judge(fitted.net, task(), "val").loss


def test_process_seconds_are_of_the_steps_alone(tmp_path, monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr("renascent.loops.fit.time.process_time", lambda: float(next(ticks)))
    assert train(tmp_path / "r").process_seconds == 12.0
