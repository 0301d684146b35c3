"""Models as people have them, and as they should not be: what `test_models.py` has made of each."""

import asyncio
import sys
import threading

import torch
from torch import nn
from torch.nn import functional

NOT_A_MODULE = 3


class Net(nn.Module):
    """Two convolutions, something odd between, and a classifier: (batch, 1, 8, 8) to (batch, 10)."""

    def __init__(self, odd=None, width=16, **parts):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.odd, self.head = odd, nn.Linear(width, 10)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        x = self.b(self.a(x).relu()).relu().mean((2, 3))
        return self.head(x if self.odd is None else self.odd(self, x))


def plain():
    return Net()


# --- functions that do not return a model


def exits():
    sys.exit(0)


def exits_with_text():
    sys.exit("the GPU is busy")


def quits():
    raise SystemExit(7)


def generator_exit():
    raise GeneratorExit


def stops():
    raise StopIteration("no more models")


def cancelled():
    raise asyncio.CancelledError


def own_error():
    class Mine(BaseException):
        def __str__(self):
            raise ValueError("not even its text")

    raise Mine


def asserts():
    assert NOT_A_MODULE == 4, "first line\nsecond line"


def recurses():
    return recurses()


def no_memory():
    return nn.Linear(2**40, 2**20)


def long_error():
    raise RuntimeError("x" * 100_000)


def needs(argument):
    return argument


def number():
    return NOT_A_MODULE


def nothing():
    return None


def a_class():
    return Net


async def awaited():
    return Net()


def generated():
    yield Net()


# --- models that are none, or cannot learn


def scripted():
    return torch.jit.script(nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)))


def traced():
    return torch.jit.trace(plain(), torch.zeros(1, 1, 8, 8))


def frozen_script():
    return torch.jit.freeze(scripted().eval())


def partly_scripted():
    return nn.Sequential(nn.Conv2d(1, 16, 3), torch.jit.script(nn.ReLU()), nn.Flatten(), nn.Linear(576, 10))


def compiled():
    return torch.compile(plain())


def meta():
    with torch.device("meta"):
        return plain()


def lazy():
    return nn.Sequential(nn.LazyConv2d(16, 3), nn.Flatten(), nn.LazyLinear(10))


def frozen():
    return plain().requires_grad_(False)


def no_weights():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def empty():
    return nn.Sequential()


def extra_state():
    class Extra(Net):
        def get_extra_state(self):
            return {"version": 2}

        def set_extra_state(self, state):
            assert state

    return Extra()


def no_state():
    class Secret(Net):
        def state_dict(self, *given, **about):
            raise RuntimeError("secret")

    return Secret()


def without_gradient():
    class Quiet(Net):
        @torch.no_grad()
        def forward(self, x):
            return super().forward(x)

    return Quiet()


def detached():
    return Net(lambda net, x: x, head=nn.Sequential(nn.Linear(16, 10), Lambda(lambda x: x.detach())))


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def returning(function):
    """Return a model whose numbers go through a function."""
    return nn.Sequential(plain(), Lambda(function))


def whole_numbers():
    return returning(lambda x: x.long())


def labels():
    return returning(lambda x: x.argmax(1))


def complex_numbers():
    return returning(lambda x: torch.complex(x, x))


def not_finite():
    return returning(lambda x: x / 0)


def not_finite_weights():
    net = plain()
    nn.init.constant_(net.a.weight, float("inf"))
    return net


def another_batch():
    return returning(lambda x: x.repeat(2, 1))


def one_row():
    return returning(lambda x: x.mean(0, keepdim=True))


def always_two():
    return returning(lambda x: x[:1].repeat(2, 1))


def a_map():
    return returning(lambda x: x[:, :, None, None])


def a_vector():
    return returning(lambda x: x[:, 0])


def no_classes():
    return returning(lambda x: x[:, :0])


def a_tuple():
    return returning(lambda x: (x, x))


def a_dict():
    return returning(lambda x: {"logits": x})


def returns_none():
    return returning(lambda x: None)


def two_of_one_batch():
    return returning(lambda x: x.view(-1, 20))


# --- models that fail, or look at what they are given


def failing(what, when=lambda net: True):
    class Failing(Net):
        def forward(self, x):
            if when(self):
                raise what
            return super().forward(x)

    return Failing()


def fails():
    return failing(RuntimeError("no such thing"))


def exits_inside():
    return failing(SystemExit(0))


def generator_exit_inside():
    return failing(GeneratorExit())


def stops_inside():
    return failing(StopIteration())


def fails_while_training():
    return failing(RuntimeError("only in train()"), lambda net: net.training)


def exits_while_training():
    return failing(SystemExit(0), lambda net: net.training)


def one_input_fails():
    class One(Net):
        def forward(self, x):
            if len(x) == 1:
                raise RuntimeError("a single image")
            return super().forward(x)

    return One()


def backward_fails():
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError("no backward here")

    return Net(lambda net, x: Broken.apply(x))


def looks_at_values():
    return Net(lambda net, x: x if x.sum() > 0 else -x)


def counts_values():
    return Net(lambda net, x: x * int((x > 0).sum()))


def chooses_by_mask():
    return Net(lambda net, x: x[x > 0].sum() + x)


def changes_its_input():
    return nn.Sequential(nn.ReLU(inplace=True), plain())


def writes_into_its_input():
    class Writes(Net):
        def forward(self, x):
            x[:, :, 0] = 0
            return super().forward(x)

    return Writes()


def recurses_inside():
    class Deep(Net):
        def forward(self, x):
            return self(x)

    return Deep()


def uncopyable():
    net = plain()
    net.lock = threading.Lock()
    return net


def weight_is_no_leaf():
    return nn.Sequential(nn.utils.weight_norm(nn.Conv2d(1, 16, 3)), nn.Flatten(), nn.Linear(576, 10))


def wants_other_channels():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(576, 10))


def wants_numbers():
    return nn.Sequential(nn.Embedding(10, 16), nn.Flatten(), nn.Linear(1024, 10))


def one_layer():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def everything_computed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 16, 3)), nn.Flatten(), nn.Linear(576, 10))


def half():
    return plain().half()


def double():
    return plain().double()


# --- models that are unusual, and go


def threads():
    def fail():
        raise RuntimeError("in a thread\nof two lines")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    return plain()


def symbolic():
    return torch.fx.symbolic_trace(plain())


def parallel():
    return nn.DataParallel(plain())


def hooked():
    net = plain()
    net.a.register_forward_hook(lambda module, given, out: out * 2)
    net.a.register_forward_pre_hook(lambda module, given: None)
    net.register_full_backward_hook(lambda module, given, out: None)
    return net


def shared():
    net = Net(lambda net, x: net.more(x).relu(), more=nn.Linear(16, 16), other=nn.Linear(16, 16))
    net.other.weight = net.more.weight
    return net


def spectral():
    return Net(lambda net, x: net.more(x), more=nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16)))


def whole_parameters():
    return Net(lambda net, x: x + net.table, table=nn.Parameter(torch.ones(16, dtype=torch.long), requires_grad=False))


def lstm():
    return Net(lambda net, x: net.rnn(x[:, None])[0][:, -1], rnn=nn.LSTM(16, 16, batch_first=True))


def bilinear():
    return Net(lambda net, x: net.more(x, x), 12, more=nn.Bilinear(16, 16, 12))


def squeezed():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.Conv2d(16, 16, 3),
        nn.AdaptiveAvgPool2d(1),
        Lambda(lambda x: x.squeeze()),
        nn.Linear(16, 10),
    )


def one_by_one():
    return Net(lambda net, x: torch.stack([net.more(row) for row in x]), more=nn.Linear(16, 16))


def volumes():
    return nn.Sequential(
        nn.Unflatten(1, (1, 1)),
        nn.Conv3d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv3d(16, 16, 3, padding=1),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def mapped():
    return Net(lambda net, x: torch.vmap(net.more)(x), more=nn.Linear(16, 16))


def fourier():
    return Net(lambda net, x: torch.fft.rfft(x, norm="ortho").abs(), 9)


def quantised():
    return nn.Sequential(plain(), torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(10, 10))))


def padded():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding="same", padding_mode="circular"), nn.Conv2d(16, 16, 3), plain_end()
    )


def plain_end():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def strided():
    return nn.Sequential(nn.Conv2d(1, 16, 1, 2), nn.ReLU(), nn.Conv2d(16, 16, 1, 2), plain_end())


def distances():
    return Net(
        lambda net, x: functional.softmin(torch.cdist(x, net.points), -1), 12, points=nn.Parameter(torch.randn(12, 16))
    )


class Late(nn.Module):
    """A model that goes until it is trained on batches of 17."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.body, self.error = plain(), error

    def forward(self, x):
        if self.training and len(x) == 17:
            raise self.error
        return self.body(x)


def late():
    return Late(ValueError("a mistake of mine"))


def leaves_late():
    return Late(SystemExit(0))
