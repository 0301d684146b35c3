"""Checkpoints: what comes back, what is noticed, and what a failure leaves."""

import contextlib
import os
import resource

import pytest
import torch

from renascent.core.errors import UserError
from renascent.loops.weightsfile import load_tree, save_tree

TREE = {
    "step": 7,
    "seconds": 0.1 + 0.2,
    "name": 'a\n"β"',
    "none": None,
    "flag": True,
    "list": [1, [2.5, "x"], {"deep": torch.arange(3)}],
    "numbers": {0: torch.zeros(2, 3), 1: {"momentum_buffer": None}},
    "empty": {"tensor": torch.empty(0, 4), "map": {}},
    "map": {"tensor": 1, "map": 2},
}


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_everything_comes_back(tmp_path):
    save_tree(tmp_path / "c", TREE)
    assert same(load_tree(tmp_path / "c"), TREE)
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
)
def test_every_kind_of_number_comes_back_bit_for_bit(tmp_path, dtype):
    tensor = (torch.randn(3, 5) * 3).to(dtype)
    save_tree(tmp_path / "c", {"t": tensor, "scalar": tensor[0, 0]})
    found = load_tree(tmp_path / "c")
    assert same(found, {"t": tensor, "scalar": tensor[0, 0]})


def test_not_a_number_and_infinities_come_back(tmp_path):
    held = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0])
    save_tree(tmp_path / "c", {"t": held, "x": float("inf")})
    found = load_tree(tmp_path / "c")
    assert torch.equal(found["t"].view(torch.int32), held.view(torch.int32))
    assert found["x"] == float("inf")


def test_tensors_that_share_memory_or_are_laid_out_otherwise(tmp_path):
    base = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    save_tree(tmp_path / "c", {"a": base, "b": base, "part": base[:, 1:], "turned": base[0, 0].T})
    assert same(load_tree(tmp_path / "c"), {"a": base, "b": base, "part": base[:, 1:], "turned": base[0, 0].T})


def test_the_file_replaces_an_older_one(tmp_path):
    save_tree(tmp_path / "c", {"step": 1})
    save_tree(tmp_path / "c", {"step": 2})
    assert load_tree(tmp_path / "c") == {"step": 2}


# --- damage


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="there is no checkpoint"):
        load_tree(tmp_path / "c")


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "c"
    save_tree(path, {"step": 3, "t": torch.tensor([1.5, -2.0]), "n": torch.arange(2)})
    return path


def test_every_flipped_byte_is_noticed(small):
    """Each byte of the file in turn: the length of the header, the header, and the numbers."""
    whole, wanted = small.read_bytes(), load_tree(small)
    for place in range(len(whole)):
        small.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        with contextlib.suppress(UserError):  # a byte that means nothing may pass, but then nothing may be changed
            assert same(load_tree(small), wanted), f"byte {place}"
    assert len(whole) > 300


@pytest.mark.parametrize(
    ("old", "new"), [(b'"F32"', b'"I32"'), (b'"shape":[2]', b'"shape":[1,2]'), (b'[\\"step\\", 3]', b'[\\"step\\", 4]')]
)
def test_an_edited_header_is_noticed(small, old, new):
    whole = small.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + length]
    assert old in header
    header = header.replace(old, new).rstrip()
    header += b" " * (-len(header) % 8)
    small.write_bytes(len(header).to_bytes(8, "little") + header + whole[8 + length :])
    with pytest.raises(UserError, match="damaged"):
        load_tree(small)


def test_every_truncation_is_noticed(small):
    whole = small.read_bytes()
    for length in range(len(whole)):
        small.write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged"):
            load_tree(small)


def test_something_else_is_noticed(tmp_path):
    (tmp_path / "c").write_text("not a checkpoint")
    with pytest.raises(UserError, match="remove its folder and start again"):
        load_tree(tmp_path / "c")


# --- failures while writing


def left(path):
    """Return what a failed write left: the old content, and nothing beside it."""
    assert os.listdir(path.parent) == [path.name]
    return load_tree(path)


def test_a_file_that_may_not_grow_leaves_the_old_one(tmp_path):
    """A real refusal by the system, halfway through the numbers."""
    path = tmp_path / "c"
    save_tree(path, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(UserError, match="cannot write"):
            save_tree(path, {"t": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left(path) == {"step": 1}


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        save_tree(tmp_path / "nowhere" / "c", {"step": 1})
