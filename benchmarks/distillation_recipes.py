"""Both readings of TAS's distillation loss, and no teacher, on networks that a search found.

    RENASCENT_DATA=FOLDER python benchmarks/distillation_recipes.py --out runs/sizes_cifar10 --sizes SIZES.json \
        --results FILE

The networks are those that NES found at a quarter of the MACs in `sizes_cifar10.py` (whose --results is --sizes), which
trained them with 0.1 label + 0.9 T^2 KL at T = 4 ("recipe") and without a teacher ("alone"). Here each is trained as
there, from the same weights on the same batches, with 0.9 label + 0.1 KL without T^2, the equation as printed. By
validation images.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from sizes_cifar10 import BACKBONES, SETTING, Job, finetuned, network_of, reference_of

from renascent.core.environment import environment
from renascent.core.files import write_json
from renascent.core.space import Arch
from renascent.tasks.distill import Distillation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs of sizes_cifar10.py")
    parser.add_argument("--sizes", type=Path, required=True, help="what sizes_cifar10.py found")
    parser.add_argument("--results", type=Path, required=True, help="JSON file to write; what it holds is kept")
    parser.add_argument("--backbone", choices=BACKBONES, default="mobilenet-v2")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    job = Job(asked.backbone, "macs<=0.25x", asked.seed, "nes")
    taught, alone = (row_of(asked.sizes, replace(job, distilled=distilled)) for distilled in (True, False))
    if taught is None:
        raise SystemExit(f"{asked.sizes} does not hold {job.name}: run that first")
    rows: list[dict[str, Any]] = json.loads(asked.results.read_text())["results"] if asked.results.exists() else []
    if any((r["backbone"], r["seed"]) == (job.backbone, job.seed) for r in rows):
        raise SystemExit(f"{asked.results} holds {job.name} already")
    same = alone is not None and alone["found"] == taught["found"]
    rows.append(
        {
            "backbone": job.backbone,
            "seed": job.seed,
            "recipe": taught["val"],
            "alone": alone["val"] if alone is not None and same else None,
            **trained(job, taught["found"], asked.out),
        }
    )
    about = environment(0, torch.device("cpu"))
    del about["command"]  # the folders of one machine
    write_json(asked.results, {"setting": SETTING, "results": rows, "environment": about})
    print(rows[-1])


def row_of(path: Path, job: Job) -> dict[str, Any] | None:
    rows = json.loads(path.read_text())["results"]
    return next((row for row in rows if all(row[key] == value for key, value in asdict(job).items())), None)


def trained(job: Job, found: dict[str, int], out: Path) -> dict[str, Any]:
    """Train a network with the loss as printed; return its validation accuracy, and its teacher's."""
    reference, own = reference_of(job.backbone, job.seed, out)
    net, arch = network_of(job, BACKBONES[job.backbone](), reference, Arch(found))
    done = finetuned(job, net, arch, reference, out, f"{job.name}-as-printed", Distillation.as_printed())
    return {"as_printed": done["val"], "teacher": own}


if __name__ == "__main__":
    main()
