"""Progress away from a terminal: a line now and then, and always the last."""

import pytest

from renascent.cli.progress import LINE_SECONDS, Counted


def test_lines_come_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("renascent.cli.progress.time.monotonic", lambda: now[0])
    with Counted() as bar:
        for done in range(1, 8):
            now[0] += LINE_SECONDS / 2
            bar.show("runs", done, 7, "  of rea")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["runs 2/7  of rea", "runs 4/7  of rea", "runs 6/7  of rea", "runs 7/7  of rea"]


def test_a_reader_who_went_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Counted() as bar:

        def gone(*words: object, **how: object) -> None:
            raise BrokenPipeError

        monkeypatch.setattr(bar.console, "print", gone)
        bar.show("runs", 7, 7)
