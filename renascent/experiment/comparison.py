"""One whole comparison of multi-trial strategies: its runs, their standings, and its page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from renascent.bench.compare import Contest, Runs, evaluator, standings
from renascent.bench.compare import compare as run_all
from renascent.bench.stopping import shielded
from renascent.core.environment import environment
from renascent.core.errors import UserError
from renascent.core.files import Json, write_json, writing
from renascent.reports.bench import write_page
from renascent.reports.comparison import repeat, sections
from renascent.strategies.trials.protocol import Trials

Strategies = Mapping[str, Trials[Any]]


class Comparison(dict[str, dict[str, Runs]]):
    """What a comparison came to: data set -> strategy -> its runs. settings: JSON values that say what was asked."""

    def __init__(
        self,
        found: Mapping[str, dict[str, Runs]],
        strategies: Strategies,
        contests: Sequence[Contest],
        settings: Json,
    ) -> None:
        super().__init__(found)
        self.strategies, self.contests, self.settings = strategies, contests, settings

    @property
    def standings(self) -> Json:
        """The standing of every strategy on each data set, as `standings` returns it."""
        return {problem: standings(runs) for problem, runs in self.items()}

    def report(self, folder: str | Path, done: Callable[[], None] = lambda: None) -> Path:
        """Write compare.json, settings.json, report.html and its figures into a folder, and return the page's path.

        done: is called when all is there, and no signal comes between.
        Raises UserError where the folder holds a comparison, or cannot be written.
        """
        folder = Path(folder)
        if (folder / "compare.json").exists():
            raise UserError(f"{folder} already holds a comparison: choose another folder, or remove it")
        facts = self.standings
        # all is drawn before anything is written
        parts = [*sections(self.strategies, self.contests, self, facts), repeat(self.settings)]
        title = f"{len(self.strategies)} strategies on {self.settings['table']}"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "settings.json", self.settings)
        page = write_page(folder / "report.html", title, parts)
        with shielded():
            write_json(folder / "compare.json", facts)
            done()
        return page


def compare(
    strategies: Strategies,
    contests: Sequence[Contest],
    *,
    runs: int,
    seed: int = 0,
    processes: int = 1,
    heard: Callable[[str, str, int], None] = lambda problem, strategy, runs: None,
) -> Comparison:
    """Run every strategy on every contest, `runs` times with the seeds from `seed` on; data set -> strategy -> runs.

    All strategies get the same seeds, so that runs can be compared in pairs. `Comparison.report` writes the page.

    heard: is called with data set, strategy and the number of its runs that ended.
    Raises UserError for a budget below one trial and for what a table cannot answer.
    """
    found = run_all(strategies, contests, runs=runs, seed=seed, processes=processes, heard=heard)
    return Comparison(found, strategies, contests, _settings(strategies, contests, runs, seed))


def _settings(strategies: Strategies, contests: Sequence[Contest], runs: int, seed: int) -> Json:
    tables = dict.fromkeys(evaluator(contest).table.name for contest in contests)
    return {
        "table": ", ".join(tables),
        "contests": [{key: _finite(value) for key, value in asdict(contest).items()} for contest in contests],
        "values_sha256": [evaluator(contest).sha256 for contest in contests],
        "runs": runs,
        "seed": seed,
        "strategies": {name: _facts(strategy) for name, strategy in strategies.items()},
        "environment": environment(seed),
    }


def _facts(strategy: object) -> Json:
    return asdict(strategy) if is_dataclass(strategy) and not isinstance(strategy, type) else {}


def _finite(value: Any) -> Any:
    return None if value == math.inf else value
