"""Write a network for other programs, and accept the file only when it computes what the network does."""

import contextlib
import copy
import io
import json
import logging
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from renascent.core.errors import UserError, missing_extra
from renascent.core.files import Json, is_there, read_json, write_json

Shape = tuple[int, int, int]
"""Shape of one input: (channels, h, w); of a network that takes pictures (h, w, channels)."""

Runner = Callable[[Tensor], Tensor]
"""What a file computes, inputs (batch, *shape) to its output."""

TOLERANCE = 1e-4
"""Largest difference accepted, as a share of the largest output: float32 rounding, with batch norm folded in."""

BATCHES = (1, 5)
"""Batch sizes of the comparison; neither is the one the network is traced with."""

SCALES = (1.0, 3.0)
"""Standard deviations of the random inputs of the comparison."""


DESCRIPTION = "model.json"
"""Name of the description among the extra files of a .pt2."""


def export(net: nn.Module, shape: Shape, path: Path, about: Json | None = None) -> Path:
    """Write `net` in evaluation mode to a .pt2 or .onnx file that takes any batch size, and return its path.

    The file is read again and run beside `net` on random inputs before it takes its name; `net` stays as it is.

    about: what the file says of itself, with a key `format`: each key an entry of ONNX's metadata, its value as JSON;
    an extra file of a .pt2, `DESCRIPTION`; and a .json of the same name beside the file.

    Raises UserError for another ending, a folder that cannot be written, a network that cannot be traced or one that
    the file does not reproduce; MissingExtra when onnx is not installed. After an error no file is left.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise UserError(f"cannot export to '{path.name}': give a name that ends in {' or '.join(FORMATS)}")
    if path.suffix == ".onnx":
        _need_onnx()
    _check_beside(path, about)
    write, load = FORMATS[path.suffix]
    plain = copy.deepcopy(net).cpu().eval()
    # torch.export.save doubts whether a weight in channels_last is whole
    plain = plain.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with _quiet(), torch.no_grad(), _beside(path) as scratch:
        write(_trace(plain, shape), scratch, about or {})
        with _refusing(f"the file as written cannot be read again ({{}}); use {_other(path)}"):
            run = load(scratch)
        _compare(plain, run, shape, path)
    if about is not None:
        write_json(path.with_suffix(".json"), about)
    return path


def _check_beside(path: Path, about: Json | None) -> None:
    """Raise UserError where the name of the description is taken by something else, such as a run's arch.json."""
    beside = path.with_suffix(".json")
    if about is None or not is_there(beside):
        return
    with contextlib.suppress(UserError):
        if str(read_json(beside).get("format")).startswith("renascent model"):
            return
    raise UserError(f"{beside} is there already and describes no model: give the file another name than {path.name}")


@contextlib.contextmanager
def _refusing(message: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Raise UserError for whatever else goes wrong inside, `{}` in the message being the first line of it."""
    try:
        yield
    except passing:
        raise
    except Exception as e:
        lines = str(e).strip().splitlines()
        reason = f"{type(e).__name__}: {lines[0].rstrip('.!')}" if lines else type(e).__name__
        raise UserError(message.replace("{}", reason)) from e


def _write_pt2(program: ExportedProgram, path: Path, about: Json) -> None:
    # the example inputs are the one thing torch would pickle; without them their member of the archive is empty
    program.example_inputs = None
    with _refusing(f"cannot write {path.name} ({{}}): free some space, or give another folder", (OSError,)):
        torch.export.save(program, path, extra_files={DESCRIPTION: json.dumps(about)} if about else None)
    _refuse_pickles(path)


def _load_pt2(path: Path) -> Runner:
    return torch.export.load(path).module()


def _write_onnx(program: ExportedProgram, path: Path, about: Json) -> None:
    names: Any = {"input_names": ["x"], "output_names": ["logits"], "dynamic_shapes": ({0: "batch"},)}
    with _refusing("the network cannot be written as ONNX ({}): export to .pt2 instead", (OSError,)):
        written = torch.onnx.export(program, dynamo=True, verbose=False, **names)
        assert written is not None
        written.model.metadata_props.update({key: json.dumps(value) for key, value in about.items()})
        written.save(str(path), external_data=False)


def _load_onnx(path: Path) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one pass of a few inputs: its own threads would only contend
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


FORMATS = {".pt2": (_write_pt2, _load_pt2), ".onnx": (_write_onnx, _load_onnx)}


def _need_onnx() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError:
            raise missing_extra(package, "onnx") from None


def _trace(net: nn.Module, shape: Shape) -> ExportedProgram:
    name = type(net).__name__
    x = _inputs(net, shape, 2)  # torch.export takes 0 and 1 for constants
    with _refusing(f"{name} fails on inputs {tuple(x.shape)}: {{}}"):
        out = net(x)
    if not isinstance(out, Tensor):
        raise UserError(f"{name} returns a {type(out).__name__}: only one tensor can be exported")
    depends = "give a network whose operations do not depend on values or on the batch size"
    with _refusing(f"{name} cannot be exported ({{}}): {depends}"):
        program = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # source lines and paths of this machine
    return program


def _inputs(net: nn.Module, shape: Shape, batch: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    dtype = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)
    rng = torch.Generator().manual_seed(seed)
    if getattr(net, "takes", None) is torch.uint8:
        return torch.randint(0, 256, (batch, *shape), generator=rng, dtype=torch.uint8)
    return (torch.randn(batch, *shape, generator=rng) * scale).to(dtype)


def _compare(net: nn.Module, run: Runner, shape: Shape, path: Path) -> None:
    """Raise UserError unless the file agrees with the network at every batch size and scale of input."""
    for seed, (batch, scale) in enumerate((b, s) for b in BATCHES for s in SCALES):
        x = _inputs(net, shape, batch, scale, seed)
        wanted = net(x)
        if not bool(wanted.isfinite().all()):
            raise UserError(
                f"{type(net).__name__} gives numbers that are not finite, so {path.name} cannot be compared with it: "
                "train it first"
            )
        with _refusing(f"{path} was not written: it fails on a batch of {batch} ({{}}); use {_other(path)}"):
            got = run(x)
        if got.shape != wanted.shape:
            raise UserError(
                f"{path} was not written: the file returns {tuple(got.shape)} for a batch of {batch}, "
                f"the network {tuple(wanted.shape)}"
            )
        difference = _difference(got, wanted)
        if not difference <= TOLERANCE:  # so that NaN is refused, too
            raise UserError(
                f"{path} was not written: run again, it differs from the network by {difference:.2g} of the largest "
                f"output (batch {batch}), more than {TOLERANCE:g}; export to {_other(path)} instead"
            )


def _difference(got: Tensor, wanted: Tensor) -> float:
    """Return the largest absolute difference as a share of the largest output."""
    if not wanted.numel():
        return 0.0
    scale = max(float(wanted.abs().max()), torch.finfo(torch.float32).tiny)
    return float((got.double() - wanted.double()).abs().max()) / scale


def _refuse_pickles(path: Path) -> None:
    """Raise UserError when an archive holds anything that only a pickle can read (a weight of a special kind)."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            config = json.loads(archive.read(member)) if member.filename.endswith("_config.json") else {}
            pickled = [name for name, meta in config.get("config", {}).items() if meta["use_pickle"]]
            if pickled or ("/sample_inputs/" in member.filename and member.file_size):
                what = pickled[0] if pickled else "the example inputs"
                raise UserError(f"{what} would be written as a pickle, which is never done: export to .onnx instead")


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a scratch path in a new folder beside `path`; afterwards move it there, or remove all on an error."""
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; give the name of a file")
    try:
        # the same name: torch only reads what ends in .pt2, and names the archive's root after it
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
            yield Path(folder) / path.name
            (Path(folder) / path.name).replace(path)
    except OSError as e:
        raise UserError(f"cannot write {path}: {e.strerror or e}; give a folder that exists and has space") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hush what the exporters log, print and deprecate among themselves. What goes wrong is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            for kind in (FutureWarning, DeprecationWarning, UserWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        logging.disable(before)


def _other(path: Path) -> str:
    return ".onnx" if path.suffix == ".pt2" else ".pt2"
