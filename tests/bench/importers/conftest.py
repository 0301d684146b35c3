"""Small files of the layouts that others released, made of plain values."""

from __future__ import annotations

import bz2
import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

Archs = Mapping[int, Mapping[str, Any]]


class Release:
    """Writers of what the authors of NATS-Bench and NAS-Bench-201 released."""

    TORCH_PREAMBLE = (
        0x1950A86A20F9469CFC6C,
        1001,
        {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}},
    )
    """The pickles that stand first in a file of torch.save's first format."""

    @staticmethod
    def run(told: Mapping[str, Any]) -> dict[str, Any]:
        """Return one training as the authors keep it; told as in nats_official_logs_sample.json."""
        epochs, names = range(told["epochs"]), [k.removeprefix("eval_") for k in told if k.startswith("eval_")]
        evals: dict[str, dict[str, float]] = {"acc": {}, "loss": {}, "time_s": {}}
        for name in names:
            held = told[f"eval_{name}"]
            for field, into in evals.items():
                values = held[field] * len(held["epoch"]) if len(held[field]) == 1 else held[field]
                into.update({f"{name}@{e}": v for e, v in zip(held["epoch"], values, strict=True)})
        return {
            "name": told["dataset"],
            "net_state_dict": None,
            "train_acc1es": dict(zip(epochs, told["train_acc"], strict=True)),
            "train_acc5es": None,
            "train_losses": dict(zip(epochs, told["train_loss"], strict=True)),
            "train_times": OrderedDict.fromkeys(epochs, told["train_time_per_epoch_s"]),
            "arch_config": told["arch_config"],
            "params": told["params_m"],
            "flop": told["flop_m"],
            "seed": told["seed"],
            "epochs": told["epochs"],
            "latency": told["latency_s"],
            "eval_names": names,
            "eval_acc1es": evals["acc"],
            "eval_losses": evals["loss"],
            "eval_times": evals["time_s"],
        }

    @classmethod
    def results(cls, index: int, arch: str, runs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the results of one schedule as the authors keep them."""
        results = OrderedDict(((told["dataset"], told["seed"]), cls.run(told)) for told in runs)
        seeds: dict[str, list[int]] = {}
        for data, seed in results:
            seeds.setdefault(data, []).append(seed)
        return {"arch_index": index, "arch_str": arch, "all_results": results, "dataset_seed": seeds}

    @staticmethod
    def made_up(dataset: str, seed: int, epochs: int, start: float, **changes: Any) -> dict[str, Any]:
        """Describe a training whose numbers all differ."""
        names = {"cifar10-valid": ("x-valid", "ori-test"), "cifar10": ("ori-test",)}
        told: dict[str, Any] = {
            "dataset": dataset,
            "seed": seed,
            "epochs": epochs,
            "params_m": 0.073306,
            "flop_m": 7.78305,
            "latency_s": [0.0125],
            "arch_config": {"channel": 16, "num_cells": 5, "class_num": 10},
            "train_time_per_epoch_s": 7.5,
            "train_acc": [start + e for e in range(epochs)],
            "train_loss": [2.5 - 0.125 * e for e in range(epochs)],
        }
        for place, name in enumerate(names.get(dataset, ("x-valid", "x-test", "ori-test")), start=1):
            acc = [start + e + place / 8 for e in range(epochs)]
            loss = [value / 128 for value in acc]
            told[f"eval_{name}"] = {"epoch": list(range(epochs)), "acc": acc, "loss": loss, "time_s": [1.5]}
        return told | changes

    @staticmethod
    def folder(folder: Path, names: list[str], archs: Archs) -> Path:
        """Write the folder that NATS-Bench is released as."""
        folder.mkdir(parents=True)
        meta = {"meta_archs": names, "total_archs": len(names), "arch2infos": None, "evaluated_indexes": set()}
        (folder / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(meta, 4)))
        for index, states in archs.items():
            (folder / f"{index:06d}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(OrderedDict(states), 4)))
        return folder

    @classmethod
    def file(cls, path: Path, names: list[str], archs: Archs, layout: str) -> Path:
        """Write all in one file: as torch.save did first ("legacy") or does now ("zip"), or as NATS-Bench ("bz2")."""
        whole = {
            "meta_archs": names,
            "total_archs": len(names),
            "basestr": "C16-N5",
            "arch2infos": {index: dict(states) for index, states in archs.items()},
            "evaluated_indexes": set(archs),
        }
        if layout == "legacy":
            stream = io.BytesIO()
            for value in (*cls.TORCH_PREAMBLE, whole, []):
                pickle.dump(value, stream, 2)
            path.write_bytes(stream.getvalue())
        elif layout == "zip":
            with zipfile.ZipFile(path, "w") as held:
                held.writestr("archive/data.pkl", pickle.dumps(whole, 2))
                held.writestr("archive/version", "3\n")
        else:
            path.write_bytes(bz2.compress(pickle.dumps(whole, 4)))
        return path


@pytest.fixture(scope="session")
def release() -> type[Release]:
    return Release


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published tables."""
    folder = os.environ.get("RENASCENT_DATA")
    if not folder or not (Path(folder) / "nas" / "nb201.npz").exists():
        pytest.skip("needs the published tables: set RENASCENT_DATA to the folder that has nas/nb201.npz")
    return Path(folder) / "nas"


@pytest.fixture(scope="session")
def logs(shared: Path) -> dict[str, Any]:
    """The authors' logs of three architectures of both spaces, decoded."""
    return json.loads((shared / "nats_official_logs_sample.json").read_text())
