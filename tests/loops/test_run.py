"""The run folder: what it refuses, what a resume forgets, and what a failing disk leaves."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from renascent.core.environment import environment, processor_name
from renascent.core.errors import UserError
from renascent.core.files import read_json, write_json, write_text, writing
from renascent.loops import run as run_module
from renascent.loops.run import CLOCK_FIELDS, Run, check_seed, interruptible, read_events, read_sessions

CONFIG = {"space": "toy", "options": {"lr": 0.1, "sizes": (1, 2)}, "seed": 0}


def start(folder, config=CONFIG, **about):
    return Run.start(folder, config, **about)


# --- opening


def test_a_new_folder_says_what_was_asked_and_where_it_ran(tmp_path):
    start(tmp_path / "deep" / "run", seed=3)
    assert read_json(tmp_path / "deep" / "run" / "config.json") == json.loads(json.dumps(CONFIG))
    (session,) = read_json(tmp_path / "deep" / "run" / "environment.json")["sessions"]
    assert session["seed"] == 3
    assert session["versions"]["torch"] == torch.__version__
    assert session["versions"]["numpy"]
    assert session["processor"] == processor_name()
    assert session["command"]


def test_a_folder_with_a_run_is_refused_and_left_as_it_was(tmp_path):
    run = start(tmp_path / "r")
    run.event("epoch", loss=1.0)
    before = {p.name: p.read_bytes() for p in run.folder.iterdir()}
    with pytest.raises(UserError, match=r"already holds a run: resume it \(`resume=True`\), or use another folder"):
        start(tmp_path / "r")
    with pytest.raises(UserError, match=r"or remove it$"):
        start(tmp_path / "r", instead="remove it")
    assert {p.name: p.read_bytes() for p in run.folder.iterdir()} == before


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for resume in (True, False):
        with pytest.raises(UserError, match="is not empty and holds no run"):
            start(tmp_path, resume=resume)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_resume_goes_on_with_the_same_configuration_and_notes_the_session(tmp_path):
    start(tmp_path / "r")
    start(tmp_path / "r", resume=True)
    assert len(read_json(tmp_path / "r" / "environment.json")["sessions"]) == 2


def test_resume_of_nothing_begins(tmp_path):
    assert start(tmp_path / "r", resume=True).restore() is None


def test_a_run_killed_before_its_configuration_was_there_can_begin_again(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.json.part").write_text('{"half')
    start(tmp_path / "r", resume=True)


def test_another_configuration_is_refused_naming_what_differs(tmp_path):
    start(tmp_path / "r")
    other = {**CONFIG, "options": {"lr": 0.2, "sizes": (1, 2)}, "epochs": 3}
    with pytest.raises(UserError) as refused:
        start(tmp_path / "r", other, resume=True)
    assert "(epochs was None, now 3, options.lr was 0.1, now 0.2)" in str(refused.value)
    assert "sizes" not in str(refused.value)
    assert len(read_json(tmp_path / "r" / "environment.json")["sessions"]) == 1


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*Not a directory"):
        start(tmp_path / "file" / "run")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for resume in (True, False):
        with pytest.raises(UserError, match=r"file is a file, and a run needs a folder: use another folder"):
            start(tmp_path / "file", resume=resume)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_damaged_list_of_sessions_is_one_line(tmp_path):
    run = start(tmp_path / "r")
    for text in ("[]", "3", '{"sessions": 3}', '{"sessions": [3]}', "{}"):
        (run.folder / "environment.json").write_text(text)
        with pytest.raises(UserError, match=r"environment.json is damaged"):
            start(tmp_path / "r", resume=True)
    (run.folder / "environment.json").unlink()
    start(tmp_path / "r", resume=True)
    assert len(read_sessions(run.folder)) == 1


def test_a_configuration_of_another_shape_is_one_line(tmp_path):
    run = start(tmp_path / "r")
    (run.folder / "config.json").write_text("[1, 2]")
    with pytest.raises(UserError, match=r"config.json is damaged \(no JSON object, but \[1, 2\]\)"):
        start(tmp_path / "r", resume=True)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_run_bad_seed_is_refused(seed):
    with pytest.raises(UserError, match="the seed is"):
        check_seed(seed)


def test_the_device_noted_is_the_one_used(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: f"GPU {device}")
    assert environment(0)["device"] == "GPU cuda"
    assert environment(0, torch.device("cuda:1"))["device"] == "GPU cuda:1"
    start(tmp_path / "r", device=torch.device("cpu"))
    assert read_sessions(tmp_path / "r")[0]["device"] == "cpu"


def test_environment_outside_a_checkout_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment(0)["git"] is None


def test_environment_in_a_checkout_names_the_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert environment(0)["git"] == {"commit": head, "changed": False}
    (tmp_path / "new").write_text("")
    assert environment(0)["git"]["changed"] is True


def test_a_package_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("renascent.core.environment.PACKAGES", ("no-such-package-here",))
    assert environment(0)["versions"] == {"no-such-package-here": "not installed"}


# --- events and checkpoints


def test_events_are_lines_in_order(tmp_path):
    run = start(tmp_path / "r")
    given = run.event("epoch", epoch=1, loss=0.1)
    run.event("derived", arch="a\nb")
    first, second = read_events(run.folder)
    assert first == given
    assert (first["event"], first["loss"], second["arch"]) == ("epoch", 0.1, "a\nb")
    assert set(first) & CLOCK_FIELDS == {"time"}


def test_a_last_line_cut_short_is_left_out(tmp_path):
    run = start(tmp_path / "r")
    run.event("epoch", epoch=1)
    with run.events_file.open("a") as file:
        file.write('{"event": "ep')
    assert [e["epoch"] for e in read_events(run.folder)] == [1]


def test_no_events_yet(tmp_path):
    assert read_events(tmp_path) == []


def test_restore_forgets_events_after_the_checkpoint(tmp_path):
    run = start(tmp_path / "r")
    run.event("epoch", epoch=1)
    run.save({"step": 5, "t": torch.ones(2)})
    run.event("epoch", epoch=2)
    with run.events_file.open("a") as file:
        file.write('{"half')
    tree = start(tmp_path / "r", resume=True).restore()
    assert tree["step"] == 5
    assert [e["epoch"] for e in read_events(run.folder)] == [1]
    run.event("epoch", epoch=2)
    assert [e["epoch"] for e in read_events(run.folder)] == [1, 2]


def test_restore_without_a_checkpoint_forgets_every_event(tmp_path):
    run = start(tmp_path / "r")
    run.event("epoch", epoch=1)
    assert run.restore() is None
    assert read_events(run.folder) == []


def test_events_reach_the_disk_before_the_checkpoint_that_covers_them(tmp_path, monkeypatch):
    run, synced, fsync = start(tmp_path / "r"), [], os.fsync
    run.event("epoch", epoch=1)
    monkeypatch.setattr("os.fsync", lambda handle: (synced.append(os.fstat(handle).st_ino), fsync(handle)))
    run.save({"step": 5})
    assert synced == [path.stat().st_ino for path in (run.events_file, run.checkpoint)]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_events_that_were_lost_are_noticed(tmp_path, damage):
    run = start(tmp_path / "r")
    run.event("epoch", epoch=1)
    run.save({"step": 5})
    damage(run.events_file)
    with pytest.raises(UserError, match="cut short or gone"):
        run.restore()


def test_a_damaged_checkpoint_is_noticed_before_events_are_touched(tmp_path):
    run = start(tmp_path / "r")
    run.save({"step": 5})
    run.event("epoch", epoch=1)
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:-1])
    with pytest.raises(UserError, match="damaged"):
        run.restore()
    assert len(read_events(run.folder)) == 1


# --- a failing disk


def test_a_full_disk_is_one_line(tmp_path):
    run = start(tmp_path / "r")
    run.events_file.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot write .*events.jsonl: No space left on device; free some space"):
        run.event("epoch", epoch=1)


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "config.json"
    write_json(path, {"a": 1})
    (tmp_path / "config.json.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left on device"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["config.json"]


def test_writing_replaces_whole_files(tmp_path):
    write_text(tmp_path / "x", "long long text")
    write_text(tmp_path / "x", "β")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "β"
    assert os.listdir(tmp_path) == ["x"]


def test_writing_passes_other_errors_on():
    with pytest.raises(KeyError), writing(run_module.Path("x")):
        raise KeyError("x")
    with pytest.raises(UserError, match="cannot write x: Input/output error"), writing(run_module.Path("x")):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_json_that_is_missing_or_broken(tmp_path):
    with pytest.raises(UserError, match=r"there is no .*arch.json"):
        read_json(tmp_path / "arch.json")
    (tmp_path / "arch.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_json(tmp_path / "arch.json")
    for text in ("[]", "null", '"text"'):
        (tmp_path / "arch.json").write_text(text)
        with pytest.raises(UserError, match="no JSON object"):
            read_json(tmp_path / "arch.json")


# --- interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_stops(number):
    before = signal.getsignal(number)
    with interruptible() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(number)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("gone", [False, True])
def test_ctrl_c_is_answered_at_once(capsys, monkeypatch, gone):
    if gone:
        monkeypatch.setattr(sys, "stderr", None)
    with interruptible() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked
    said = "" if gone else "finishing this step; Ctrl-C again to stop at once\n"
    assert capsys.readouterr().err == said
    with interruptible():
        signal.raise_signal(signal.SIGTERM)
    assert capsys.readouterr().err == ""


def test_handlers_are_put_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError), interruptible():
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_it_never_asks():
    code = (
        "import threading\n"
        "from renascent.loops.run import interruptible\n"
        "def work():\n"
        "    with interruptible() as interrupt:\n"
        "        print(interrupt.asked)\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
