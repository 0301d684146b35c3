"""Archives: fetched from a site (file:// here), compared with their checksum, unpacked."""

import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from renascent.core.errors import UserError
from renascent.tasks import DATASETS
from renascent.tasks.cifar import CIFAR10
from renascent.tasks.download import Archive, fetch, unpack
from renascent.tasks.mnist import FILES
from renascent.tasks.sources import DataSet

Published = tuple[DataSet, Path, Path]


@pytest.fixture
def published(small: Any, tmp_path: Path) -> Published:
    """A small archive in CIFAR-10's genuine format, CIFAR-10 as if it were published there, and a data folder."""
    (folder := tmp_path / "data").mkdir()
    site = tmp_path / "site"
    small.cifar(site / "cifar-10-batches-bin", small.CIFAR_FILES, 20, 1, 10)
    with tarfile.open(site / "cifar-10-binary.tar.gz", "w:gz") as tar:
        tar.add(site / "cifar-10-batches-bin", "cifar-10-batches-bin")
    path = site / "cifar-10-binary.tar.gz"
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    return replace(CIFAR10, archives=(Archive(path.as_uri(), md5, path.name, 1),)), path, folder


def test_an_archive_is_downloaded_checked_and_unpacked(published: Published, tmp_path: Path):
    data, _, _ = published
    folder = tmp_path / "new" / "data"
    with pytest.raises(UserError, match=r"cifar10 is not in the data folder .*new/data: `download=True` fetches it"):
        data.read("cifar10", folder, download=False)
    assert len(data.read("cifar10", folder, download=True).train[1]) == 100
    assert sorted(p.name for p in folder.iterdir()) == ["cifar-10-batches-bin", "cifar-10-binary.tar.gz"]
    assert len(data.read("cifar10", folder, download=False).test[1]) == 20


def test_an_archive_in_the_folder_is_used_without_download(published: Published):
    data, path, folder = published
    (folder / path.name).write_bytes(path.read_bytes())
    assert len(data.read("cifar10", folder, download=False).train[1]) == 100


def test_a_wrong_archive_is_refused_and_replaced_by_download(published: Published):
    data, path, folder = published
    (folder / path.name).write_bytes(b"half of it")
    with pytest.raises(UserError, match=r"has the MD5 .*, the published file has .*: it is incomplete"):
        data.read("cifar10", folder, download=False)
    assert len(data.read("cifar10", folder, download=True).train[1]) == 100


def test_four_files_without_an_archive_are_downloaded(small: Any, tmp_path: Path):
    archives = []
    for file in FILES:
        path, labels = tmp_path / "site" / f"{file}.gz", np.arange(20, dtype=np.uint8) % 10
        small.idx(path, small.pixels(20, 28, 28) if "idx3" in file else labels)
        archives.append(Archive(path.as_uri(), hashlib.md5(path.read_bytes()).hexdigest(), f"mnist/{path.name}", 1))
    raw = replace(DATASETS["mnist"], archives=tuple(archives)).read("mnist", tmp_path / "data", download=True)
    assert raw.train[0].shape == (20, 1, 28, 28)


def test_fetch_leaves_nothing_behind_when_it_fails(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "out" / "target"
    source.write_bytes(b"data")
    with pytest.raises(UserError, match=r"has the MD5 .*, expected 0: try again, or put it at .*target"):
        fetch(source.as_uri(), "0", target)
    with pytest.raises(
        UserError, match=r"cannot download file:.*missing .*; fetch it elsewhere and put it at .*target"
    ) as e:
        fetch((tmp_path / "missing").as_uri(), "0", target)
    assert "\n" not in str(e.value)
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(UserError, match=r"cannot write .*source/target \(.*\); choose another data folder"):
        fetch(source.as_uri(), "0", source / "target")


def test_fetch_does_nothing_when_the_file_is_there(tmp_path: Path):
    target = tmp_path / "target"
    target.write_bytes(b"data")
    fetch("http://127.0.0.1:1/nothing", hashlib.md5(b"data").hexdigest(), target)
    with pytest.raises(UserError, match="cannot download http://127"):
        fetch("http://127.0.0.1:1/nothing", "0", target)
    assert target.read_bytes() == b"data"


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path):
    (tmp_path / "evil").write_text("evil")
    archive, folder = tmp_path / "a.tar.gz", tmp_path / "folder"
    folder.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "evil", "../escaped")
    with pytest.raises(UserError, match=r"cannot unpack .*a.tar.gz"):
        unpack(archive, folder)
    assert not (tmp_path / "escaped").exists()
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"cannot unpack .*a.tar.gz"):
        unpack(archive, folder)
    assert list(folder.iterdir()) == []
