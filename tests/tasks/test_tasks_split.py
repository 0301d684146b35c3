"""Properties of the stratified split, and the benchmark's own split."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from renascent.core.errors import UserError
from renascent.tasks.split import official_cifar10_split, split, subset

DATA = Path(os.environ.get("RENASCENT_DATA", "data"))


def shuffled(sizes: list[int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)) * 3, sizes))


@given(st.lists(st.integers(2, 30), min_size=1, max_size=8), st.floats(0.01, 0.99), st.integers(0, 2**40))
@example(sizes=[3, 3, 15], fraction=0.875, seed=0)
def test_a_split_is_a_partition_in_proportion(sizes: list[int], fraction: float, seed: int):
    labels = shuffled(sizes, seed % 1000)
    count = round(fraction * len(labels))
    try:
        train, val = split(labels, fraction, seed)
    except UserError:
        # refused only where nothing is asked for, or the classes, each within one of its share, cannot spare it
        most = sum(min(size * count // len(labels) + 1, size - 1) for size in sizes)
        assert count == 0 or most < count
        return
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(len(labels)))
    assert len(val) == count
    for label, size in enumerate(sizes):
        held_out = int((labels[val] == label * 3).sum())
        assert abs(held_out - size * count / len(labels)) <= 1
        assert held_out < size


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 100), st.integers(0, 9))
def test_a_subset_has_the_exact_count_and_every_class(sizes: list[int], count: int, seed: int):
    labels = shuffled(sizes, seed)
    try:
        kept = subset(labels, count, seed)
    except UserError:
        # refused only where no class keeps one image within one of its proportional share
        left_out = len(labels) - count
        most = sum(min(size * left_out // len(labels) + 1, size - 1) for size in sizes)
        assert not len(sizes) <= count <= len(labels) or most < left_out
        return
    assert len(kept) == len(set(kept.tolist())) == count
    assert len(np.unique(labels[kept])) == len(sizes)


def test_count_and_fraction_agree_and_the_seed_decides():
    labels = np.arange(100) % 10
    assert np.array_equal(split(labels, 0.3, 1)[1], split(labels, 30, 1)[1])
    assert not np.array_equal(split(labels, 30, 1)[1], split(labels, 30, 2)[1])
    assert np.bincount(labels[split(labels, 30, 1)[1]]).tolist() == [3] * 10


def test_a_class_of_one_stays_in_train():
    labels = np.array([0] * 9 + [1])
    for seed in range(5):
        assert 9 in split(labels, 5, seed)[0]


@pytest.mark.parametrize("amount", [0, 10, 11, -1, -0.5, 0.01, 2.5])
def test_an_impossible_amount_is_refused(amount: float):
    with pytest.raises(UserError, match="of 10 examples for validation; give a fraction between 0 and 1"):
        split(np.arange(10) % 2, amount, 0)


def test_classes_that_cannot_spare_one_are_refused():
    with pytest.raises(UserError, match="the smallest of 4 classes has 1, and one of every class must stay"):
        split(np.arange(4), 0.5, 0)
    with pytest.raises(UserError, match="the split's seed is -3"):
        split(np.arange(4) % 2, 0.5, -3)
    with pytest.raises(UserError, match=r"the limit is 3 images; give 4 \(one of every class\) to 8"):
        subset(np.arange(8) % 4, 3, 0)


def parts() -> tuple[list[int], list[int]]:
    order = np.random.default_rng(0).permutation(50_000)
    return np.sort(order[:25_000]).tolist(), np.sort(order[25_000:]).tolist()


@pytest.mark.parametrize("kind", ["int", "list", "plain"])
def test_the_authors_text_file_is_read(tmp_path: Path, kind: str):
    train, valid = parts()
    rows = [train, valid] if kind == "plain" else [[kind, [str(i) for i in part]] for part in (train, valid)]
    (tmp_path / "cifar-split.txt").write_text(json.dumps(dict(zip(("train", "valid"), rows, strict=True))))
    result = official_cifar10_split(tmp_path)
    assert [part.tolist() for part in result] == [train, valid]
    assert result[0].dtype == np.int64


def test_the_array_file_is_read(tmp_path: Path):
    train, valid = parts()
    (tmp_path / "nas").mkdir()
    path = tmp_path / "nas" / "nb201_cifar10_split.npz"
    np.savez(path, train=np.array(train, np.uint16), valid=np.array(valid, np.uint16))
    assert [part.tolist() for part in official_cifar10_split(tmp_path)] == [train, valid]
    np.savez(path, train=np.array(train, np.uint16), valid=np.array(train, np.uint16))
    with pytest.raises(UserError, match="does not deal out CIFAR-10's 50,000 training images once each"):
        official_cifar10_split(tmp_path)
    np.savez(path, first=np.array(train))
    with pytest.raises(UserError, match=r"cannot read .*nb201_cifar10_split.npz"):
        official_cifar10_split(tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", '{"train": 3, "valid": 4}', '{"train": ["int"], "valid": ["int"]}'])
def test_a_damaged_text_file_is_refused(tmp_path: Path, text: str):
    (tmp_path / "cifar-split.txt").write_text(text)
    with pytest.raises(UserError, match="is not the authors' CIFAR-10 split"):
        official_cifar10_split(tmp_path)


def test_a_missing_split_says_what_to_put_where(tmp_path: Path):
    with pytest.raises(UserError, match=r"put cifar-split.txt of the authors' AutoDL-Projects .* there"):
        official_cifar10_split(tmp_path)


@pytest.mark.skipif(not (DATA / "nas").is_dir(), reason="RENASCENT_DATA has no nas/: real split not here")
def test_the_real_split_is_disjoint_and_complete():
    train, valid = official_cifar10_split(DATA)
    assert len(train) == len(valid) == 25_000
    assert len(np.union1d(train, valid)) == 50_000
    assert train[:10].tolist() == [0, 5, 7, 11, 13, 15, 16, 17, 20, 24]  # as in the authors' cifar-split.txt
