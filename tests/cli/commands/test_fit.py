"""`renascent fit` with a teacher and inherited weights: what it prints, records and refuses."""

from __future__ import annotations

import json
import linecache
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from renascent.cli.commands.fit import command
from renascent.cli.entry import main
from renascent.core.protocols import Loss
from renascent.costs import params
from renascent.experiment.result import Result
from renascent.loops.weightsfile import save_weights
from renascent.nets import space_from
from renascent.nets.cells.nats import NatsTopology
from renascent.tasks.images import ImageTask

SEARCH = "search nats-topology --strategy rsps --candidates 2 --data digits --channels 4 --cells 1 --nodes 3"
DATA = "--limit 200 --batch 32 --epochs 1"
FIT = "fit run --epochs 1 --batch 64"
CONVOLUTIONS = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished searches, `run`, and `teacher`, whose network is trained."""
    folder = tmp_path_factory.mktemp("trained")
    assert main(shlex.split(f"{SEARCH} {DATA} --out {folder / 'run'}")) == 0
    shutil.copytree(folder / "run", folder / "teacher")
    assert main(shlex.split(f"fit {folder / 'teacher'} --epochs 2 --batch 64")) == 0
    return folder


@pytest.fixture
def say(say: Any, trained: Path, tmp_path: Path) -> Any:
    """In a folder with both searches."""
    for name in ("run", "teacher"):
        shutil.copytree(trained / name, tmp_path / name)
    return say


@pytest.fixture
def referenced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the cell's space a reference network, as spaces of sizes have one."""
    whole = property(lambda self: self.space.parse(CONVOLUTIONS))
    monkeypatch.setattr(NatsTopology, "reference", whole, raising=False)


def recorded() -> dict[str, Any]:
    held: dict[str, Any] = json.loads(Path("run/fit/result.json").read_text())
    return held


def test_a_trained_search_teaches(say: Any) -> None:
    completed = say(f"{FIT} --teacher teacher --temperature 2 --soft-weight 0.5 --random-cells 1")
    assert completed.code == 0
    assert "trained alone, 1 epoch, taught by teacher (0.1 label + 0.5 T^2 soft, T = 2)" in completed.out
    assert "1 cell trained identically;" in completed.out
    assert "taught by teacher" in Path("run/report.html").read_text()
    facts = recorded()
    assert facts["teacher"]["name"] == "teacher"
    assert facts["distillation"] == {
        "label_weight": 0.1,
        "soft_weight": 0.5,
        "temperature": 2.0,
        "temperature_squared": True,
    }


def test_the_same_data_keep_their_options_and_others_have_their_own(say: Any) -> None:
    for name, shade in ((str(k), 25 * k) for k in range(10)):
        Path("photos", name).mkdir(parents=True)
        for number in range(30):
            Image.new("L", (8, 8), shade).save(Path("photos", name, f"{number}.png"))
    taken = {
        "digits": 200,
        "digits --cutout 2": 200,
        "photos": 240,
        "photos --limit 220": 220,
        "digits --limit 150": 150,
    }
    for data, images in taken.items():
        shutil.rmtree("run/fit", ignore_errors=True)
        assert say(f"{FIT} --data {data}").code == 0
        used = json.loads(Path("run/fit/config.json").read_text())["task"]["images"]
        assert used["train"] + used["val"] == images


def test_shared_weights_and_what_random_cells_have_instead(say: Any) -> None:
    completed = say(f"{FIT} --init shared --random-cells 1")
    assert completed.code == 0
    assert "trained alone, 1 epoch, from the search's weights" in completed.out
    assert "1 cell trained identically, but from fresh weights" in completed.out
    assert recorded()["random_init"] == "fresh"
    assert "trained identically, but from fresh weights" in Path("run/report.html").read_text()


@pytest.mark.parametrize(
    ("flags", "epochs", "lr", "warmup"),
    [
        ("", 200, 0.1, 0),
        ("--init shared", 30, 0.03, 1),
        ("--init shared --epochs 1", 1, 0.03, 0),
        ("--init shared --epochs 2 --lr 0.2", 2, 0.2, 1),
        ("--init shared --optimiser adamw", 30, 0.001, 1),
        ("--init shared --recipe tas-cifar", 300, 0.1, 0),
    ],
)
def test_inherited_weights_have_settings_of_their_own(flags: str, epochs: int, lr: float, warmup: int) -> None:
    words = shlex.split(flags)
    given = dict(zip(words[::2], words[1::2], strict=True))
    defaults = {flag.name: flag.default for flag in command(["run", *words]).parts["training"].flags()}
    found = [float(given.get(name, defaults[name])) for name in ("--epochs", "--lr", "--warmup")]
    assert found == [epochs, lr, warmup]


@pytest.mark.usefixtures("referenced")
def test_the_reference_is_trained_teaches_and_is_inherited_from(say: Any) -> None:
    completed = say(f"{FIT} --teacher reference --init reference")
    assert completed.code == 0
    assert "reference network: epoch 1/1" in completed.err
    assert "training: epoch 1/1" in completed.err
    assert "from the reference's leading weights, taught by reference" in completed.out
    assert recorded()["reference"]["arch"] == CONVOLUTIONS


@pytest.mark.usefixtures("referenced")
def test_a_recipe_brings_its_teacher_and_flags_come_first(say: Any) -> None:
    assert "[default: reference]" in say("fit --recipe tas-cifar-as-printed --help").out
    completed = say("fit run --recipe tas-cifar-as-printed --epochs 1 --temperature 3 --json")
    fitted = completed.facts["fit"]
    assert fitted["settings"]["batch"] == 256
    assert fitted["teacher"]["name"] == "reference"
    assert (fitted["distillation"]["label_weight"], fitted["distillation"]["temperature"]) == (0.9, 3.0)
    assert not fitted["distillation"]["temperature_squared"]


@pytest.mark.usefixtures("referenced")
def test_ctrl_c_while_the_reference_is_trained(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = ImageTask.loss

    def pressed(self: ImageTask, *args: Any, **kwargs: Any) -> Loss:
        signal.raise_signal(signal.SIGINT)
        return loss(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ImageTask, "loss", pressed)
        completed = say(f"{FIT} --teacher reference")
    assert completed.code == 130
    command = completed.err.splitlines()[-1].partition("renascent fit")[2]
    assert command.endswith("--resume")
    assert say(f"fit {command}").code == 0
    assert set(recorded()["reference"]["scores"]) == {"test"}


def test_flags_of_the_space_train_a_wider_network(say: Any) -> None:
    done = say(f"{FIT} --channels 6 --cells 2")
    assert done.code == 0, done.err
    config = recorded()["network"]["space_config"]
    assert (config["channels"], config["cells"], config["nodes"]) == (6, 2, 3)
    assert "in a network of channels 6, cells 2: " in done.out


def test_widen_trains_the_widest_network_inside_a_budget(say: Any) -> None:
    done = say(f"{FIT} --widen params<=2k --cells 2")
    assert done.code == 0, done.err
    config, arch = recorded()["network"]["space_config"], Result.load("run").arch
    assert config["cells"] == 2

    def taken(channels: int) -> int:
        return params(space_from("nats-topology", config | {"channels": channels}).network(arch, 1, 10))

    assert taken(config["channels"]) == recorded()["params"] <= 2000 < taken(config["channels"] + 1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--widen params=3", "budget 'params=3' cannot be read: write NAME<=NUMBER"),
        ("--widen macs<=2x", "'macs<=2x' cannot be widened to: bound macs, params by a number, as in macs<=40M"),
        ("--widen latency_ms<=2", "'latency_ms<=2' cannot be widened to: bound macs, params"),
        ("--widen params<=3", "budget 'params<=3' is below the narrowest network of 'nats-topology': allow more"),
        ("--widen params<=3M --channels 4", "--widen chooses the channels, and --channels gives them: leave one"),
        ("--uniform", "the search in run has no budget, so no uniformly scaled network: leave uniform out"),
        ("--init frehs", "unknown init 'frehs': did you mean 'fresh'? known: fresh, shared, reference"),
        ("--init reference", "the space nats-topology has no reference network"),
        ("--teacher reference", "the space nats-topology has no reference network"),
        ("--recipe tas-cifar", "the space nats-topology has no reference network"),
        ("--teacher nowhere", "there is no folder nowhere: give the folder of a finished search"),
        ("--teacher run", "nothing was trained in run yet: run `renascent fit run` first"),
        ("--soft-weight 0.5", "--soft-weight without a teacher: add --teacher DIR or --teacher reference"),
        ("--no-temperature-squared", "--temperature-squared without a teacher"),
        ("--channels 4 --nodes 4", "which has other decisions than the search in run"),
        ("--recipe cells-fit-cifar", "recipe 'cells-fit-cifar' sets channels, cells, layers_count of a network, which"),
        ("--teacher teacher --temperature 0", "--temperature is '0': give a number of at least 0.01"),
    ],
)
def test_what_is_refused(refused: Any, flags: str, message: str) -> None:
    refused(f"{FIT} {flags}", message)


def test_a_teacher_of_other_classes_or_channels(say: Any, unsealed: Any) -> None:
    unsealed(Path("teacher"))
    for key, value, fragment in (("classes", 7, "the data have 10 classes"), ("channels", 3, "(1, 8, 8)")):
        path, weights = Path("teacher/arch.json"), Path("teacher/fit/weights.safetensors")
        before = path.read_text()
        path.write_text(json.dumps(json.loads(before) | {key: value}))
        save_weights(weights, Result.load("teacher").build())
        assert fragment in say(f"{FIT} --teacher teacher").refusal
        path.write_text(before)
    assert not Path("run/fit").exists()


def test_every_training_says_how_each_class_does(say: Any) -> None:
    flags = "--optimiser adamw --warmup 1 --mixup 0.2 --class-weights balanced"
    completed = say(f"fit run --epochs 2 --batch 64 {flags}")
    assert completed.code == 0, completed.err
    facts = recorded()
    figures, rule = facts["by_class"]["test"], facts["settings"]["weights"]
    assert (rule["lr"], rule["weight_decay"], facts["settings"]["class_weights"]) == (0.001, 0.01, "balanced")
    lowest = min(figures["recall"])
    line = next(line for line in completed.out.splitlines() if line.startswith("balanced accuracy"))
    assert f"{100 * figures['balanced_accuracy']:.2f} % (lowest of 10 classes: " in line
    assert line.endswith(f"{figures['recall'].index(lowest)}, {100 * lowest:.2f} %)")
    page = Path("run/report.html").read_text()
    assert "Decoupled Weight Decay" in page
    assert "Beyond Empirical Risk" in page
    table = page[page.index('id="classes-test"') :].partition("</table>")[0]
    assert table.count("<tr>") == 11
    assert f'<td class="number">{figures["images"][3]}</td>' in table


def test_a_resume_imports_only_what_the_user_names(say: Any) -> None:
    """A folder that names other code is refused by name, and neither that nor a report runs it."""
    mine = "from torch.nn import functional\n\ndef loss(logits, labels):\n    return functional.cross_entropy({})\n"
    Path("fit_mine.py").write_text(mine.format("logits, labels"))
    Path("fit_evil.py").write_text("open('ran', 'w').close()\n\ndef loss(logits, labels):\n    return logits.sum()\n")
    assert say(f"{FIT} --loss fit_mine:loss").code == 0
    for file in (Path("run/fit/config.json"), Path("run/fit/result.json")):
        held = json.loads(file.read_text())
        held["settings"]["loss"] = "fit_evil:loss"
        file.write_text(json.dumps({key: value for key, value in held.items() if key != "sha256"}))
    refused = say(f"{FIT} --loss fit_mine:loss --resume").refusal
    assert "settings.loss was 'fit_evil:loss', now 'fit_mine:loss'" in refused
    assert say("report run").code == 0
    assert not Path("ran").exists()


def test_a_resume_with_other_text_in_a_function_is_refused(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def change(images):\n    return images.clamp(max={})\n"
    for limit, code in ((200, 0), (100, 2)):
        Path("fit_text.py").write_text(text.format(limit))
        monkeypatch.delitem(sys.modules, "fit_text", raising=False)
        linecache.clearcache()
        done = say(f"{FIT} --augmentation fit_text:change {'--resume' if code else ''}")
        assert done.code == code, done.err
    assert "source.augmentation was '" in done.refusal


def test_runs_of_before_a_setting_go_on(say: Any, unsealed: Any) -> None:
    """A search and a training whose configurations lack what was added since: as if that were left alone."""
    assert say(FIT).code == 0
    for file, keys in ((Path("run/config.json"), ("clip", "momentum")), (Path("run/fit/config.json"), ("momentum",))):
        held = json.loads(file.read_text())
        for key in keys:
            del held.get("settings", held)["weights"][key]
        file.write_text(json.dumps(held))
    unsealed(Path("run"))
    Path("run/fit/checkpoint.safetensors").unlink()
    assert say(f"{SEARCH} {DATA} --out run --resume").code == 0
    assert say(f"{FIT} --resume").code == 0
    assert "weights.lr was 0.1, now 0.2" in say(f"{FIT} --lr 0.2 --resume").refusal
