"""A comparison from Python: its runs, and the page of the command by one call."""

import json

import pytest

import renascent as rn


def test_report_of_a_comparison_is_that_of_the_command(say, tmp_path):
    contest = rn.Contest(None, "digits", trials=4)
    found = rn.compare({"random": rn.RandomSearch(), "rea": rn.REA()}, [contest], runs=3)
    page = found.report(tmp_path / "python")
    assert say("bench compare --strategies random,rea --runs 3 --trials 4 --processes 1 --out command").code == 0
    facts, others = (json.loads((tmp_path / name / "compare.json").read_text()) for name in ("python", "command"))
    assert facts == others == json.loads(json.dumps({"digits": rn.standings(found["digits"])}))
    assert [path.name for path in sorted(page.parent.iterdir())] == [
        path.name for path in sorted((tmp_path / "command").iterdir())
    ]
    settings = json.loads((tmp_path / "python" / "settings.json").read_text())
    assert settings["contests"][0]["trials"] == 4 and settings["contests"][0]["seconds"] is None
    assert settings["strategies"].keys() == {"random", "rea"}
    with pytest.raises(rn.UserError, match="already holds a comparison"):
        found.report(tmp_path / "python")
