"""What runs a network when its latency is measured: PyTorch as it is, compiled, or ONNX Runtime."""

import contextlib
import copy
import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from renascent.core.errors import UserError, missing_extra, unknown

Pass = Callable[[], object]
"""One forward pass on an input that is ready."""

RUNTIMES = ("eager", "compiled", "onnxruntime")
"""PyTorch as it is, `torch.compile`, and ONNX Runtime (extra `onnx`, CPU only)."""


def check_runtime(runtime: str, device: torch.device) -> None:
    """Raise UserError for a runtime that is unknown or does not run there, MissingExtra for one not installed."""
    if runtime not in RUNTIMES:
        raise unknown("runtime", runtime, RUNTIMES)
    if runtime != "onnxruntime":
        return
    if device.type != "cpu":
        raise UserError(f"runtime onnxruntime is measured on the CPU only, not on {device}: use eager or compiled")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError:
            raise missing_extra(package, "onnx") from None


def named(runtime: str, device: torch.device) -> str:
    """Return runtime, its version and the kind of device, in words.

    >>> named("eager", torch.device("cpu")).split()[2:]
    ['eager,', 'cpu']
    """
    if runtime == "onnxruntime":
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}, cpu"
    return f"torch {torch.__version__} {runtime}, {device.type}"


def device_of(net: nn.Module) -> torch.device:
    """Return where the parameters of a network are; the CPU where it has none."""
    return next((p.device for p in net.parameters()), torch.device("cpu"))


def prepared(net: nn.Module, shape: tuple[int, ...], batch: int, runtime: str, device: torch.device) -> Pass:
    """Return one pass of `net`, in evaluation mode, on a random input (batch, *shape).

    Raises UserError where the runtime cannot take the network.
    """
    if runtime == "onnxruntime":
        return _with_onnxruntime(net, torch.randn(batch, *shape))
    if device_of(net) != device:
        net = copy.deepcopy(net).to(device)
    x = torch.randn(batch, *shape, device=device)
    return _compiled(net, x) if runtime == "compiled" else lambda: net(x)


def _compiled(net: nn.Module, x: Tensor) -> Pass:
    try:
        # dynamo counts what it compiles by the code of a class, and runs what is over its limits as it is, untold
        with _quiet(), torch._dynamo.config.patch(accumulated_recompile_limit=sys.maxsize):
            run = torch.compile(net, dynamic=False, isolate_recompiles=True)  # type: ignore[call-overload]
            run(x)  # what compiles it
    except Exception as e:
        raise UserError(f"{type(net).__name__} cannot be compiled ({_first_line(e)}): measure with eager") from e
    return lambda: run(x)


def _with_onnxruntime(net: nn.Module, x: Tensor) -> Pass:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    plain = copy.deepcopy(net).cpu().eval()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        try:
            # a module made under inference mode holds tensors that cannot be traced
            with _quiet(), torch.inference_mode(False), torch.no_grad():
                written = torch.onnx.export(plain, (x.clone(),), dynamo=True, verbose=False)
                assert written is not None
                written.save(str(file), external_data=False)
        except OSError:
            raise
        except Exception as e:
            name = type(net).__name__
            raise UserError(f"{name} cannot be written as ONNX ({_first_line(e)}): measure with eager") from e
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, fed)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own messages away from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
