"""A search on photos as people have them: what is left out is said, kept in the run folder, and the same for `fit`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def photos(root: Path) -> None:
    """Write photos of two classes in train/ and valid/, of mixed kinds, one of them broken, and an empty class."""
    rng = np.random.default_rng(0)
    for top, n in (("train", 8), ("valid", 4)):
        for name in ("chat noir", "été"):
            (root / top / name).mkdir(parents=True)
            for k in range(n):
                Image.fromarray(rng.integers(0, 256, (12, 10, 3), np.uint8)).save(root / top / name / f"{k}.jpg")
    cat, turned = root / "train" / "chat noir", Image.Exif()
    turned[274] = 6
    Image.new("RGB", (9, 14)).save(cat / "turned.jpg", exif=turned)
    Image.new("RGBA", (20, 20)).save(cat / "clear.png")
    Image.new("CMYK", (20, 20)).save(cat / "print.jpg")
    Image.new("P", (20, 20)).save(cat / "palette.gif")
    Image.fromarray(np.full((16, 16), 20000, np.uint16)).save(cat / "deep.png")
    (cat / "broken.jpg").write_bytes((cat / "0.jpg").read_bytes()[:400])
    (root / "train" / "empty").mkdir()
    (root / "README.txt").touch()


@pytest.mark.usefixtures("without_measuring")
def test_photos_of_mixed_kinds_are_searched_and_fitted_without_what_is_broken(say: Any, tmp_path: Path):
    photos(tmp_path / "photos")
    search = "search nats-topology --strategy gdas --data photos --image-size 8 --channels 4 --cells 1 --epochs 1"
    refused = say(f"{search} --batch 8 --out run")
    assert "damaged image: train/chat noir/broken.jpg" in refused.refusal
    assert "class without an image: train/empty (skipped in any case: README.txt); repair" in refused.refusal
    assert not (tmp_path / "run").exists()
    found = say(f"{search} --batch 8 --out run --skip-bad")
    assert found.code == 0, found.err
    said, task = found.err.splitlines()[0], json.loads((tmp_path / "run" / "config.json").read_text())["task"]
    assert said == f"data: {task['source']}"
    assert "'photos', 2 left out (damaged image: train/chat noir/broken.jpg (" in said
    assert said.endswith("transparent pixels put on white in 1 of 29 images")
    assert (task["class_names"], task["images"]) == (["chat noir", "été"], {"train": 21, "val": 8, "test": 0})
    assert "chat noir, été" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    fitted = say("fit run --epochs 1 --batch 8 --json")
    assert fitted.facts["fit"]["same_data"]
