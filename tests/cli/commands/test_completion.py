"""Shell completion: the scripts are made from the commands' tables, and bash completes by its."""

import subprocess

import pytest

LINES = {
    "renascent ": {"search", "bench", "completion"},
    "renascent se": {"search"},
    "renascent bench c": {"compare"},
    "renascent bench build resn": {"resnet20", "resnet164"},
    "renascent search nats": {"nats-topology", "nats-size"},
    "renascent search nats-topology --strategy gd": {"gdas"},
    "renascent search nats-topology --tau": {"--tau-start", "--tau-end"},
    "renascent search nats-topology --data fash": {"fashion-mnist"},
    "renascent export run --to o": {"onnx"},
    "renascent fit run --ini": {"--init"},
    "renascent latency measure nats-t": set(),
}


@pytest.fixture
def bash(say):
    """Return what bash offers for a command line whose last word is unfinished."""
    script = say("completion bash").out

    def offered(line):
        *_, last = words = line.split(" ")
        asked = f"COMP_WORDS=({' '.join(words)} {'' if last else repr('')}); COMP_CWORD={len(words) - 1}; _renascent"
        whole = f'{script}\n{asked}; echo "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "--norc"], input=whole, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return set(done.stdout.split())

    return offered


def test_bash_completes(bash):
    for line, words in LINES.items():
        found = bash(line)
        assert words <= found, line
        assert all(word.startswith(line.split(" ")[-1]) for word in found)
        assert words or not found, line


def test_zsh_and_fish_have_the_same_commands_and_flags(say):
    assert say("completion zsh").out.partition("\n")[2] == say("completion bash").out
    lines = say("completion fish").out.splitlines()
    assert "complete -c renascent -n '__fish_seen_subcommand_from search' -l tau-start" in lines
    assert "complete -c renascent -n '__fish_seen_subcommand_from export' -l to -xa 'onnx pt2'" in lines
    seen = "__fish_seen_subcommand_from bench; and __fish_seen_subcommand_from compare"
    assert f"complete -c renascent -n '{seen}' -l runs" in lines


def test_another_shell_is_refused(say):
    assert "unknown shell 'tcsh'" in say("completion tcsh").refusal
    assert "which shell? name one of bash, zsh, fish" in say("completion").refusal
