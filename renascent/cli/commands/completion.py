"""`renascent completion`: what a shell needs to complete command lines, written from the commands' own tables."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from renascent.cli.commands import COMMANDS, GROUPS, search
from renascent.cli.commands.command import OUTPUT, Command, Outcome
from renascent.cli.flags import Flag
from renascent.core.errors import UserError, unknown
from renascent.core.fields import OneOf
from renascent.experiment.recipes import SUMMARIES
from renascent.nets import MEASURED, SPACES
from renascent.strategies import NAMED
from renascent.strategies.trials import MULTITRIAL
from renascent.tasks import DATASETS

SHELLS = ("bash", "zsh", "fish")

ABOUT = """Print a script by which a shell completes commands, spaces, strategies, data sets and flags.

For bash, in ~/.bashrc: `source <(renascent completion bash)`; for zsh the same with zsh, in ~/.zshrc; for fish:
`renascent completion fish > ~/.config/fish/completions/renascent.fish`"""

WORDS: Mapping[str, Iterable[str]] = {
    **dict.fromkeys(("search", "cost", "bench build"), SPACES),
    "latency measure": MEASURED,
    "completion": SHELLS,
}
"""Command -> what its first word can be, where that is no file or folder."""

VALUES: dict[str, Iterable[str]] = {
    "--strategy": NAMED,
    "--strategies": MULTITRIAL,
    "--data": DATASETS,
    "--recipe": SUMMARIES,
}
"""Flag -> names that it takes, where its setting does not list them."""

BASH = """_renascent() {
  local words="" now="${COMP_WORDS[COMP_CWORD]}" line="${COMP_WORDS[1]} "
  [ "$COMP_CWORD" -gt 1 ] || line=""
  [ "$COMP_CWORD" -gt 2 ] && line="$line${COMP_WORDS[2]}"
  case "${COMP_WORDS[COMP_CWORD-1]}" in
%s
    *) case "$line" in
%s
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$now"))
}
complete -o default -F _renascent renascent"""

ZSH = "autoload -U +X compinit bashcompinit && compinit && bashcompinit"


def _check(flags: Any, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    if words[0] is None:
        raise UserError(f"which shell? name one of {', '.join(SHELLS)}")
    if words[0] not in SHELLS:
        raise unknown("shell", words[0], SHELLS)


COMMAND = Command(
    run="renascent.cli.commands.completion:run",
    words={"shell": f"Your shell: {', '.join(SHELLS)}."},
    check=_check,
)


def run(shell: str) -> Outcome:
    """Write the script."""
    script = {"bash": _bash, "zsh": lambda: f"{ZSH}\n{_bash()}", "fish": _fish}[shell]()
    return Outcome({"shell": shell, "script": script}, script)


@functools.cache
def flags_of(name: str) -> dict[str, Flag]:
    """Return all flags that a command can have, whatever space and strategy it is given, by the word that is typed."""
    found: Any = COMMANDS[name]
    parts = [*(found([]) if callable(found) else found).parts.values(), OUTPUT]
    for choice, brought in search.owned().items():
        of_strategies = choice.startswith("--") and name in ("search", "shrink")
        if of_strategies or (
            choice and not choice.startswith("--") and name in (*WORDS, "fit") and name != "completion"
        ):
            parts += brought
    return {flag.name: flag for part in parts for flag in part.flags()}


def values() -> dict[str, list[str]]:
    """Return the names that each flag takes, of those that take names."""
    flags = {flag: about for name in COMMANDS for flag, about in flags_of(name).items()}
    listed: dict[str, Iterable[str]] = {
        f: about.limit.names for f, about in flags.items() if isinstance(about.limit, OneOf)
    }
    return {flag: list(names) for flag, names in (listed | VALUES).items()}


def _bash() -> str:
    takes = [f'    {flag}) words="{" ".join(names)}" ;;' for flag, names in values().items()]
    told = {
        f'"{name}"*' if " " in name else f'"{name} "*': [*WORDS.get(name, ()), *flags_of(name)] for name in COMMANDS
    }
    groups = {
        f'"{group} "*': [name.split()[1] for name in COMMANDS if name.startswith(f"{group} ")] for group in GROUPS
    }
    first = {"*": list(dict.fromkeys(name.split()[0] for name in COMMANDS))}
    rows = [f'      {line}) words="{" ".join(words)}" ;;' for line, words in {**told, **groups, **first}.items()]
    return BASH % ("\n".join(takes), "\n".join(rows))


def _fish() -> str:
    lines, names = ["complete -c renascent -n __fish_use_subcommand -f"], values()
    for name in COMMANDS:
        first, *second = name.split()
        lines.append(f"complete -c renascent -n __fish_use_subcommand -a {first}")
        seen = f"__fish_seen_subcommand_from {first}"
        if second:
            lines.append(f"complete -c renascent -n '{seen}' -a {second[0]}")
            seen += f"; and __fish_seen_subcommand_from {second[0]}"
        if name in WORDS:
            lines.append(f"complete -c renascent -n '{seen}' -a '{' '.join(WORDS[name])}'")
        for flag in flags_of(name):
            takes = f" -xa '{' '.join(names[flag])}'" if flag in names else ""
            lines.append(f"complete -c renascent -n '{seen}' -l {flag[2:]}{takes}")
    return "\n".join(lines)
