"""What a model computes, recorded by running it once: every operation, the tensors between them, every module called.

Running, not symbolic tracing: sizes are plain integers, and any control flow that does not look at values is followed.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from renascent.core.errors import RenascentError, UserError
from renascent.nets.macs import Counter, unfused

BATCH = 2
"""Inputs in the traced batch: with one, `squeeze()` would take the batch's axis, too."""

READS_VALUES = {"__bool__", "__float__", "__int__", "__index__", "__complex__", "item", "tolist", "numpy", "__array__"}
"""Operations that hand a tensor's values to Python: what follows may depend on the data."""


SHAPE_ADVICE = "give the shape of one input, channels,height,width"


class Untraceable(UserError):
    """A model whose operations cannot be known beforehand."""


@dataclass(frozen=True)
class Ref:
    """A tensor, by its number in the graph."""

    value: int


@dataclass(frozen=True)
class Node:
    """One operation, with a `Ref` in the place of each tensor.

    name: of the operation, without underscores.  macs: multiply-accumulates, for all inputs of the batch as `trace`
    returns it, for one as `counted` does.  module: dotted name of the module that ran it.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any
    macs: int
    module: str

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument given by place or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


@dataclass(frozen=True)
class Call:
    """One call of a module. plain: it was given one tensor and nothing else.

    given, returned: numbers of its first tensor and of what it returned, None if that is no tensor.
    start, end: its operations are `nodes[start:end]`.
    """

    module: str
    given: int | None
    returned: int | None
    plain: bool
    start: int
    end: int


@dataclass
class Graph:
    """All operations of a model in order. shapes: of each tensor.  named: number of a parameter or buffer -> name.

    whole: the tensors that are not floating-point, as they are: indices and masks.  of_input: tensors computed from
    the input.  unknown: operations of which it is not known what they multiply.  unsaved: names of buffers that no
    file of weights has.
    """

    nodes: list[Node] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    named: dict[int, str] = field(default_factory=dict)
    whole: dict[int, Tensor] = field(default_factory=dict)
    of_input: set[int] = field(default_factory=set)
    unknown: tuple[str, ...] = ()
    unsaved: frozenset[str] = frozenset()
    given: int = 0
    returned: Any = None


def refs(tree: Any) -> list[Ref]:
    """Return all tensors in nested arguments."""
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Ref)]


def trace(model: nn.Module, shape: tuple[int, ...], *, batch: int = BATCH) -> Graph:
    """Run `model` on a batch of inputs of `shape` (channels, h, w), and return what it computed.

    The model is left as it is, and runs in evaluation mode. Raises Untraceable when it looks at values, UserError when
    it fails on such inputs.
    """
    x, counter = example(model, shape, batch=batch), Counter()
    recorder = _Recorder(model, counter)
    with evaluating(model), torch.no_grad(), unfused(), counter, recorder:
        recorder.graph.given = recorder.number(x)
        recorder.graph.of_input.add(recorder.graph.given)
        try:
            with failing(f"the model fails on inputs of shape {(batch, *shape)} ({{}}): {SHAPE_ADVICE}"):
                out = model(x)
        finally:
            recorder.forget()
        if x._version:
            raise UserError("the model changes its input in place: let it work on a copy (x = x.clone())")
        recorder.graph.returned = recorder.numbered(out)
    recorder.graph.unknown = tuple(counter.unknown)
    return recorder.graph


def counted(model: nn.Module, shape: tuple[int, ...]) -> Graph:
    """Return what `trace` does, with the multiply-accumulates for one input.

    Some are done once for all inputs, others for each: a batch with one input more tells how many. Where that has
    other operations, as code has that takes the inputs one by one, those are for each that depend on the input.
    """
    graph, more = trace(model, shape), trace(model, shape, batch=BATCH + 1)
    if [node.name for node in graph.nodes] == [node.name for node in more.nodes]:
        pairs = zip(graph.nodes, more.nodes, strict=True)
        macs = [a.macs - (BATCH - 1) * (b.macs - a.macs) for a, b in pairs]
    else:
        each = [any(r.value in graph.of_input for r in refs(node.result)) for node in graph.nodes]
        macs = [node.macs // BATCH if many else node.macs for node, many in zip(graph.nodes, each, strict=True)]
    nodes = [replace(node, macs=count) for node, count in zip(graph.nodes, macs, strict=True)]
    return replace(graph, nodes=nodes)


def example(model: nn.Module, shape: tuple[int, ...], *, batch: int = BATCH, seed: int = 0) -> Tensor:
    """Return random inputs (batch, *shape), of the model's number format and on its device."""
    first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(batch, *shape, generator=rng).to(first)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def failing(message: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """Turn whatever the user's own code raises inside into one line, `{}` in it being the first one of that.

    Only Ctrl-C passes, and what renascent itself refuses. message: short; kind: of the error that is raised.
    """
    try:
        yield
    except (RenascentError, KeyboardInterrupt):
        raise
    except BaseException as e:  # SystemExit and GeneratorExit among them
        raise kind(message.replace("{}", first_line(e))) from e


def first_line(error: BaseException) -> str:
    """Return the kind and the first line of an error, shortened."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # a user's error may not even say what it is
        lines = []
    return f"{type(error).__name__}: {lines[0].rstrip('.!'):.200}" if lines else type(error).__name__


class _Recorder(TorchFunctionMode):
    """Writes down every operation while it is active."""

    def __init__(self, model: nn.Module, counter: Counter) -> None:
        super().__init__()
        self.graph, self.counter = Graph(), counter
        self.numbers: dict[int, int] = {}
        self.kept: list[Tensor] = []  # so that no identity is given twice
        self.stack: list[tuple[str, int, int | None, bool]] = []  # module, first operation, given, plain
        self.hooks: list[Any] = []
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            self.graph.named[self.number(tensor)] = name
        for name, module in model.named_modules():
            self.graph.unsaved |= {f"{name}.{leaf}".lstrip(".") for leaf in module._non_persistent_buffers_set}
            self.hooks.append(module.register_forward_pre_hook(functools.partial(self._enter, name), with_kwargs=True))
            self.hooks.append(module.register_forward_hook(self._leave))

    def forget(self) -> None:
        """Leave the model without hooks."""
        for hook in self.hooks:
            hook.remove()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        raw, name = name_of(func)
        given = (self.numbered(args), self.numbered(kwargs))
        if raw in READS_VALUES and any(r.value in self.graph.of_input for r in refs(given)):
            where = f" in '{self.where}'" if self.where else ""
            raise Untraceable(
                f"the model looks at values while it runs ({raw.strip('_')}{where}), so that its operations depend on "
                "the data: give a model that computes the same operations for every input"
            )
        before = self.counter.macs
        result = func(*args, **kwargs)
        self._note(name, func, given, result, self.counter.macs - before)
        return result

    def _note(self, name: str, func: Any, given: tuple[Any, Any], result: Any, macs: int) -> None:
        if name != "setitem" and not any(isinstance(leaf, Tensor) for leaf in tree_flatten(result)[0]):
            return
        returned = tree_map(lambda leaf: Ref(self.renumber(leaf)) if isinstance(leaf, Tensor) else leaf, result)
        if any(r.value in self.graph.of_input for r in refs(given)):
            self.graph.of_input.update(r.value for r in refs(returned))
        args, kwargs = _by_place(name, *given)
        self.graph.nodes.append(Node(name, func, args, kwargs, returned, macs, self.where))

    def number(self, tensor: Tensor) -> int:
        """Return the number of a tensor, a new one if it was not seen before."""
        return self.numbers[id(tensor)] if id(tensor) in self.numbers else self.renumber(tensor)

    def renumber(self, tensor: Tensor) -> int:
        """Give a tensor a new number: an operation in place makes a new value of it."""
        value = len(self.graph.shapes)
        self.numbers[id(tensor)] = value
        self.kept.append(tensor)
        self.graph.shapes.append(tuple(tensor.shape))
        if not tensor.is_floating_point():
            self.graph.whole[value] = tensor
        return value

    def numbered(self, tree: Any) -> Any:
        """Return nested arguments with a `Ref` in the place of each tensor."""
        return tree_map(lambda leaf: Ref(self.number(leaf)) if isinstance(leaf, Tensor) else leaf, tree)

    @property
    def where(self) -> str:
        """The module that runs."""
        return self.stack[-1][0] if self.stack else ""

    def _enter(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        given = self.number(tensors[0]) if tensors else None
        self.stack.append((name, len(self.graph.nodes), given, len(args) == 1 and not kwargs and bool(tensors)))

    def _leave(self, module: nn.Module, args: Any, out: Any) -> None:
        name, start, given, plain = self.stack.pop()
        returned = self.number(out) if isinstance(out, Tensor) else None
        self.graph.calls.append(Call(name, given, returned, plain, start, len(self.graph.nodes)))


def _by_place(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments with the tensors that an operation is about by place, where they were given by name."""
    rest = dict(kwargs)
    second = ("weight", "other") if name.startswith("conv") or name == "linear" else ("other",)
    for place, names in enumerate((("input",), second)):
        if len(args) == place:
            args += tuple(rest.pop(key) for key in names if key in rest)
    return args, rest


def name_of(func: Any) -> tuple[str, str]:
    """Return the name of an operation as PyTorch spells it, and without underscores.

    >>> name_of(torch.Tensor.add_), name_of(torch.nn.functional.relu)
    (('add_', 'add'), ('relu', 'relu'))
    """
    raw = str(getattr(func, "__name__", func))
    if raw == "__get__":  # an attribute, such as .T
        raw = str(getattr(func.__self__, "__name__", raw))
    return raw, raw.split(".")[0].strip("_")
