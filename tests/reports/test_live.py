"""Progress: bars on a terminal, lines now and then elsewhere, and a reader who goes away."""

import io

import pytest

from renascent.reports.live import LINE_SECONDS, Counted, Live, shown

EPOCH = {"event": "epoch", "epoch": 2, "epochs": 4, "train_loss": 1.0, "val_score": 0.25, "seconds": 3.14}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_lines_come_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("renascent.reports.live.time.monotonic", lambda: now[0])
    with Counted() as bar:
        for done in range(1, 8):
            now[0] += LINE_SECONDS / 2
            bar.show("runs", done, 7, "  of rea")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["runs 2/7  of rea", "runs 4/7  of rea", "runs 6/7  of rea", "runs 7/7  of rea"]


def test_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with Counted(out) as bars:
        show = Live(bars, ["training", "random cell 1 of 1"])
        show(EPOCH)
        show({"event": "fitted", "scores": {"test": 0.5}})
        show(EPOCH)
        show({"event": "fitted", "scores": {"test": 0.25}})
        show({"event": "unheard of"})
    assert out.getvalue().splitlines() == [
        "training: epoch 2/4  train loss 1.000  val score 0.250  3.1 s",
        "training: test accuracy 50.00 %",
        "random cell 1 of 1: epoch 2/4  train loss 1.000  val score 0.250  3.1 s",
        "random cell 1 of 1: test accuracy 25.00 %",
    ]


def test_what_is_left_of_a_network_is_counted_and_a_long_architecture_cut() -> None:
    out = io.StringIO()
    with Counted(out) as bars:
        show = Live(bars, ["search"])
        show({"event": "epoch", "epoch": 1, "epochs": 2, "val_score": 0.5, "scales_on": 45.75, "seconds": 1.0})
        show({"event": "derived", "arch": "a" * 300, "score": 0.5})
    first, second = out.getvalue().splitlines()
    assert first == "search: epoch 1/2  val score 0.500  scales on 46  1.0 s"
    assert second == f"search: chose {'a' * 200}... (300 characters)"


def test_a_bar_on_a_terminal(terminal: Terminal) -> None:
    with Counted(terminal) as bars:
        show = Live(bars, ["search"])
        show(EPOCH)
        show({"event": "derived", "arch": "another", "score": 0.5, "instead": "uniform scaling"})
        show({"event": "settled", "arch": "|none~0|", "score": 0.5})
        bars.show("runs", 3, 7)
    text = terminal.getvalue()
    assert "2/4" in text
    assert "3/7" in text
    assert "another, uniform scaling, as the strategy's own choice scored no better than" in text.replace("\n", " ")
    assert "train loss 1.000  val score 0.250" in text
    assert "measured latency differs from the prediction, chose |none~0| instead" in text.replace("\n", "")


@pytest.mark.parametrize("width", [200, 80, 60, 40])
@pytest.mark.parametrize("label", ["search", "random cell 12 of 100"])
def test_epoch_and_time_left_stay_in_a_narrow_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, width: int, label: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    with Counted(terminal) as bars:
        costs = {"macs": 0.97, "params": 1.02}
        about = {"epoch": 12, "epochs": 250, "seconds": 12 * 60.0, "costs": costs, "truth": 91.5}
        Live(bars, [label])(EPOCH | about)
        lines = "".join(segment.text for segment in bars.console.render(bars.bars.get_renderable())).splitlines()
    (line,) = lines
    assert len(line.rstrip()) <= width
    assert "12/250" in line and "3:58:00 left" in line
    assert label[:8] in line
    assert ("train loss 1.000  val score 0.250" in line) == (width - len(label) >= 54)
    assert ("macs 0.97 of the budget" in line) == (width == 200)
    assert "macs 0.97 of" not in line or "macs 0.97 of the budget" in line  # no half of a part


def test_time_left_of_what_is_counted_comes_from_its_speed(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    with Counted(terminal) as bars:
        bars.bars.get_time = lambda: now[0]
        for done in (5, 6, 7):  # a resumed work begins at five
            bars.show("runs", done, 10)
            now[0] += 100.0  # longer than rich looks back by itself
        text = "".join(segment.text for segment in bars.console.render(bars.bars.get_renderable()))
    assert "7/10" in text and "5:00 left" in text


def test_events_are_shown_and_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    with shown(["search"], lambda event: heard.append(event["event"])) as hear:
        hear(EPOCH)
        hear({"event": "measured", "done": 3, "of": 3})
    with shown([], lambda event: heard.append("silently")) as hear:
        hear(EPOCH)
    assert heard == ["epoch", "measured", "silently"]
    assert capsys.readouterr().err.splitlines() == [
        "search: epoch 2/4  train loss 1.000  val score 0.250  3.1 s",
        "latency 3/3 networks measured",
    ]


def test_a_reader_who_went_away_stops_nothing() -> None:
    with Counted(Closed()) as bars:
        bars.show("runs", 7, 7)
        Live(bars, ["search"])(EPOCH)
