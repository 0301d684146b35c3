"""Which importer takes a source, and what is refused before anything is written."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from renascent.bench.importers.sources import import_table
from renascent.core.codecs.nats_topology import official_arch, topology_space
from renascent.core.errors import UserError

NAMES = [topology_space().format(official_arch(index)) for index in range(3)]


@pytest.fixture
def archs(release: Any) -> dict[int, Any]:
    return {1: {"12": release.results(1, NAMES[1], [release.made_up("cifar10", 111, 3, 10)])}}


@pytest.mark.parametrize("layout", ["folder", "legacy", "zip", "bz2"])
def test_the_authors_releases_are_known_by_what_they_are(release: Any, archs: Any, tmp_path: Path, layout: str) -> None:
    name = {"folder": "NATS-tss-v1_0-3ffb9-simple", "bz2": "NATS-tss-v1_0-3ffb9.pickle.pbz2"}.get(layout, "any.pth")
    path = tmp_path / name
    if layout == "folder":
        release.folder(path, NAMES, archs)
    else:
        release.file(path, NAMES, archs, layout)
    table = import_table(path, tmp_path / "deep" / "er" / "t.safetensors")
    assert table.query(1, "test_accuracy:cifar10", at=3) == 12.125
    assert [p.name for p in (tmp_path / "deep" / "er").iterdir()] == ["t.safetensors"]


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("nothing", None, "there is no .*nothing: check the name; what can be imported is nb201.npz"),
        ("empty", {}, "is no benchmark that can be imported: give nb201.npz"),
        ("notes.txt", b"hello", "is no benchmark that can be imported: give nb201.npz"),
        ("t.safetensors", b"\x10", "is no benchmark that can be imported"),
        ("x.npz", b"PK\x03\x04 cut short", "cannot read the table .*x.npz"),
        ("x.npz", b"", "cannot read the table .*x.npz"),
        ("x.pth", b"", "x.pth is damaged"),
        ("x.pth", b"weights", "x.pth is damaged"),
        ("x.pth", pickle.dumps({"meta_archs": NAMES, "arch2infos": {}}), "holds no architectures"),
        ("x.pickle.pbz2", b"BZh91AY&SY", "x.pickle.pbz2 is damaged"),
    ],
)
def test_sources_that_cannot_be_taken(tmp_path: Path, name: str, content: Any, fragment: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=fragment) as e:
        import_table(tmp_path / name, tmp_path / "t")
    assert "\n" not in str(e.value)
    assert not (tmp_path / "t").exists()


def test_an_array_file_of_something_else(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.arange(3))
    with pytest.raises(UserError, match="is no table that can be read"):
        import_table(tmp_path / "x.npz", tmp_path / "t")


def test_an_out_that_cannot_be_written(release: Any, archs: Any, tmp_path: Path) -> None:
    source = release.folder(tmp_path / "n", NAMES, archs)
    (tmp_path / "file").write_text("in the way")
    for out, fragment in [
        (tmp_path / "file", "file exists already: remove it, or give another `out`"),
        (tmp_path / "n", "n exists already"),
        (tmp_path / "file" / "t", "cannot write .*: .*file is a file; give another `out`"),
        (Path("/proc/renascent/t"), "cannot write /proc/renascent"),
        (tmp_path / "t.npz", r"ends in \.npz, which means the compact arrays: name it t\.safetensors"),
    ]:
        with pytest.raises(UserError, match=fragment):
            import_table(source, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "n"]
    assert (tmp_path / "file").read_text() == "in the way"


def test_resume_of_what_takes_seconds(tmp_path: Path) -> None:
    np.savez(tmp_path / "nb201.npz", a=np.arange(3))
    with pytest.raises(UserError, match="leave `resume=True` out"):
        import_table(tmp_path / "nb201.npz", tmp_path / "t", resume=True)


def test_a_full_disk_is_said_to_be_the_disk(
    release: Any, archs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It happens while a source is read, and is no damage of the source."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    for source in (release.folder(tmp_path / "n", NAMES, archs), release.file(tmp_path / "x.pth", NAMES, archs, "zip")):
        with monkeypatch.context() as patch:
            patch.setattr("numpy.save", full)
            with pytest.raises(UserError, match=r"cannot write .*: No space left on device; free some space"):
                import_table(source, tmp_path / "t")
