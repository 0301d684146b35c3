"""`renascent bench compare` and `bench query`: figures, pages, and bad input in one line."""

import json

import numpy as np
import pytest

from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.table import Table
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.errors import UserError


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    rng = np.random.default_rng(0)
    archs = np.array(list(np.ndindex(5, 5, 5)))
    worth = 50 + 10 * (archs == 3).sum(1) + rng.standard_normal(125)
    columns = {
        Column("val_accuracy", "d", 12): worth,
        Column("test_accuracy", "d", 12): worth + rng.standard_normal(125),
        Column("seconds_per_epoch", "d"): 10 + 5 * rng.random(125),
        Column("latency_ms", device="phone"): np.where(np.arange(125) == 7, np.nan, 1 + (archs >= 2).sum(1)),
        Column("params"): (archs >= 2).sum(1),
    }
    problem = Problem("d", "val_accuracy:d:12", "seconds_per_epoch:d", "test_accuracy:d:12")
    table = Table.of("made", topology_space(3), archs, columns, [problem])
    return table.save(tmp_path_factory.mktemp("table") / "made.safetensors")


@pytest.fixture
def say(say, path):
    return lambda line: say(line.replace("TABLE", str(path)))


COMPARE = "bench compare --table TABLE --runs 6 --processes 1 --strategies random,rea,reinforce,bohb"


def test_a_comparison(say, tmp_path):
    code, out, err = say(f"{COMPARE} --budget-seconds d=3000 --out found --rea-population 5 --json")
    assert code == 0
    assert "runs 24/24" in err
    held = json.loads((tmp_path / "found" / "compare.json").read_text())
    assert json.loads(out)["results"] == held
    assert list(held["d"]) == ["random", "rea", "reinforce", "bohb"]
    for row in held["d"].values():
        assert row["runs"] == 6
        assert 60 < row["mean"] < 85
        assert row["std"] > 0
    settings = json.loads((tmp_path / "found" / "settings.json").read_text())
    assert settings["strategies"]["rea"]["population"] == 5
    assert settings["budget_seconds"] == {"d": 3000}
    page = (tmp_path / "found" / "report.html").read_text()
    for words in (
        "Accuracy over time: d",
        "On d, bohb trains every architecture for its full",
        "arXiv:1802.01548",
        "p, or 0.0001 if less</th>",
    ):
        assert words in page
    assert (tmp_path / "found" / "accuracy-over-time-d.png").exists()


@pytest.fixture
def chunks(monkeypatch):
    """Count what is run, and interrupt what has a number that is added."""
    from renascent.bench import compare

    seen, stops, real = [], set(), compare.run_many

    def run_many(strategy, contest, seeds):
        seen.append(seeds)
        if len(seen) in stops:
            raise KeyboardInterrupt
        return real(strategy, contest, seeds)

    monkeypatch.setattr(compare, "run_many", run_many)
    return seen, stops


def test_a_comparison_that_is_interrupted_goes_on_and_ends_as_one_left_alone(say, tmp_path, chunks):
    line = f"{COMPARE} --trials 10 --out"
    assert say(f"{line} whole").code == 0
    chunks[1].add(7)
    stopped = say(f"{line} found")
    assert stopped.code == 130
    assert "interrupted after 12 of 24 runs; to go on: renascent bench compare" in stopped.err
    assert stopped.err.rstrip().endswith("--out found --resume")
    assert [file.name for file in (tmp_path / "found").iterdir()] == ["runs.jsonl"]
    for more, words in (("", "go on with --resume"), (" --seed 1 --resume", "a comparison of other settings")):
        again = say(f"{line} found{more}")
        assert again.code == 2
        assert words.replace("a comparison", "an unfinished comparison") in again.err
    assert say(f"{line} found --resume").code == 0
    assert len(chunks[0]) == 4 + 3 + 2
    held = [(tmp_path / name / "compare.json").read_text() for name in ("found", "whole")]
    assert held[0] == held[1]
    assert not (tmp_path / "found" / "runs.jsonl").exists()


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (0.5, 2)])
def test_a_comparison_goes_on_with_the_table_that_it_began_with(say, tmp_path, path, chunks, factor, code):
    """A table that was built again has its old name, and may have other values."""
    table = Table.open(path)
    columns = {column: factor * np.array(table.array(key)) for key, column in table.columns.items()}
    Table.of(table.name, table.space, table.archs, columns, [*table.problems.values()]).save(tmp_path / "again")
    chunks[1].add(3)
    assert say(f"{COMPARE} --trials 10 --out found").code == 130
    found = say(f"{COMPARE.replace('TABLE', 'again')} --trials 10 --out found --resume")
    assert found.code == code
    assert ("an unfinished comparison of other settings or another table" in found.err) == (code == 2)


@pytest.mark.parametrize(("table", "least", "told"), [("TABLE", 1, True), ("digits-125", 12, False)])
def test_a_page_says_where_the_table_has_no_shorter_training(say, tmp_path, table, least, told):
    line = f"bench compare --table {table} --runs 1 --trials 3 --processes 1 --strategies random,bohb --out found"
    assert say(f"{line} --bohb-min-epochs {least}").code == 0
    page = (tmp_path / "found" / "report.html").read_text()
    assert ("trains every architecture for its full number of epochs" in page) == told


def test_a_comparison_whose_page_cannot_be_written_is_not_run_again(say, tmp_path, chunks, monkeypatch):
    line = f"{COMPARE} --trials 10 --out found"
    with monkeypatch.context() as full:

        def refuse(*_):
            raise UserError("cannot write found/report.html: No space left on device")

        full.setattr("renascent.experiment.comparison.write_page", refuse)
        assert say(line).code == 2
    assert say(f"{line} --resume").code == 0
    assert len(chunks[0]) == 4
    assert (tmp_path / "found" / "report.html").exists()


def test_the_text_names_every_strategy(say):
    code, out, _ = say(
        f"{COMPARE} --trials 10 --out found --constraints latency_ms:phone<=3 --workers 2".replace(
            "latency_ms:phone", "params"
        )
    )
    assert code == 0
    assert all(f"  {name}" in out for name in ("random", "rea", "reinforce", "bohb"))
    assert "test accuracy (%) of 6 runs" in out


def test_objectives(say, tmp_path):
    assert say(f"{COMPARE} --trials 10 --out found --objectives params")[0] == 0
    held = json.loads((tmp_path / "found" / "compare.json").read_text())
    assert all(0 < row["hypervolume"] < 1 for row in held["d"].values())


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (f"{COMPARE} --trials 5", 2, "--out is missing"),
        ("bench compare --table none.safetensors --out x", 2, "cannot read the table none.safetensors"),
        ("bench compare --table TABLE --strategies random,raa --out x", 2, "unknown strategy 'raa': did you mean"),
        (f"{COMPARE} --out x --budget-seconds d=10", 2, "below one trial: the longest takes"),
        (f"{COMPARE} --out x --budget-seconds d=ten", 2, "--budget-seconds 'ten' cannot be read"),
        (f"{COMPARE} --out x --budget-seconds d=1000,7", 2, "write DATA=SECONDS"),
        (f"{COMPARE} --out x --budget-seconds c=1000", 2, "unknown problem of table 'made': 'c'"),
        (f"{COMPARE} --out x --trials 0", 2, "0 trials on d is below one trial"),
        (f"{COMPARE} --out x --trials 5 --constraints params<=-1", 3, "the nearest is 0"),
        (f"{COMPARE} --out x --trials 5 --constraints latency_ms:phone<=3", 2, "no value for 1 of 125"),
        (f"{COMPARE} --out x --trials 5 --constraints params", 2, "write COLUMN<=NUMBER"),
        (f"{COMPARE} --out x --trials 5 --objectives parms", 2, "did you mean 'params'"),
        (f"{COMPARE} --out x --trials 5 --gdas-arch-lr 3", 2, "unknown flag --gdas-arch-lr"),
        (f"{COMPARE} --out x --trials 5 --rea-population 0", 2, "--rea-population is '0'"),
        ("bench compare --table TABLE --out x --runs 0", 2, "--runs is '0'"),
        (f"{COMPARE.replace('--processes 1', '--processes 9999')} --out x --trials 5", 2, "processes is 9999, for"),
        ("bench compare --strategies optuna:Nope --table TABLE --out x --trials 5", 2, "ptuna"),  # or not there
        ("bench query --table TABLE", 2, "which architecture?"),
        ("bench query --table TABLE 125", 2, "give 0 to 124"),
        ("bench query --table TABLE 1 --at 0", 2, "of at least 1"),
        ("bench query --table TABLE '|none~0|'", 2, "none"),
        ("bench query --table TABLE 3 --column val_acuracy", 2, "did you mean 'val_accuracy:d:12'"),
        ("bench query --table TABLE 7 --column latency_ms:phone", 2, "no value for row 7"),
        ("bench query --table TABLE 3 --seed 5", 2, "no column of table 'made' has that seed"),
        ("bench quary", 2, "did you mean 'query'?"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(refused, line, code, words):
    refused(line, words, code=code)


def test_a_comparison_is_never_written_over(refused, tmp_path):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "compare.json").write_text("{}")
    refused(f"{COMPARE} --trials 5 --out found", "already holds a comparison")


def test_query(say):
    code, out, _ = say("bench query --table TABLE 7 --json")
    found = json.loads(out)
    assert code == 0
    assert (found["row"], found["table"]) == (7, "made")
    assert found["values"]["latency_ms:phone"] is None
    code, out, _ = say(f"bench query --table TABLE '{found['arch']}'")
    assert code == 0
    assert "missing" in out
    assert f"{found['values']['val_accuracy:d:12']:.10g} %" in out


def test_a_group_lists_its_commands(say):
    for line in ("bench", "bench --help"):
        code, out, _ = say(line)
        assert code == 0
        assert all(name in out for name in ("build", "compare", "query", "import", "analyse"))
