"""From the words of a command line to a command that runs, or to one line that says why not."""

import difflib
import importlib
import json
import os
import re
from collections.abc import Sequence

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)
from rich.console import Console

import renascent
from renascent.cli.commands import COMMANDS, GROUPS, Command
from renascent.cli.commands.command import OUTPUT
from renascent.cli.flags import Part, signed
from renascent.cli.streams import output_is_ours
from renascent.core.errors import UserError, unknown

ABOUT = """Find a neural architecture that fits your data and your device.

`renascent COMMAND --help` shows what a command takes."""


def run(words: Sequence[str]) -> str:
    """Run one command line, and return what it prints, if it does not do so itself.

    Raises RenascentError, or KeyboardInterrupt.
    """
    _sane(words)
    if words[:1] == ["--version"]:
        return str(renascent.__version__)
    name = _named(words)
    command = COMMANDS.get(name)
    if callable(command):
        with output_is_ours():  # what it names of the user's own is imported here
            command = command(words[len(name.split()) :])
    app = _app(name, command)
    console = Console()
    try:
        with console.capture() as captured:
            parsed = app(list(words) or ["--help"], console=console)
    except CycloptsError as e:
        raise UserError(_message(e, name, command)) from None
    if command is None or parsed is None:
        return captured.get().removesuffix("\n")
    given, values = parsed
    command.refuse(given, values)
    module, _, function = command.run.partition(":")
    settings = {key: part.build(values) for key, part in command.parts.items()}
    with output_is_ours():
        outcome = getattr(importlib.import_module(module), function)(*given, **settings, **command.others)
    return json.dumps(outcome.facts) if values.get("json") else str(outcome.text)


def _sane(words: Sequence[str]) -> None:
    """Refuse words that name nothing, and forget what the environment says of windows where it cannot be."""
    if "" in words:
        before = words[words.index("") - 1] if words.index("") else "the command"
        raise UserError(f"there is an empty word after {before}: give a value, or leave both out")
    if any("\0" in word for word in words):
        raise UserError("a word holds a NUL, which no name can: leave it out")
    for name in ("COLUMNS", "LINES"):
        if not re.fullmatch(r"[1-9][0-9]{1,2}", os.environ.get(name, "80")):
            del os.environ[name]
    os.environ.pop("MPLBACKEND", None)  # figures are files here, and matplotlib stops at a name that it does not know


def _named(words: Sequence[str]) -> str:
    """Return the command that the first one or two words name, or a flag, or a group of commands.

    Raises UserError for anything else.
    """
    first = words[0] if words else "--help"
    pair = " ".join(words[:2])
    if first in COMMANDS or first.startswith("-"):
        return first
    group = [name for name in COMMANDS if name.startswith(f"{first} ")]
    if not group:
        raise unknown("command", first, dict.fromkeys(name.split()[0] for name in COMMANDS))
    if pair not in COMMANDS and len(words) > 1 and not words[1].startswith("-"):
        raise unknown(f"command of `renascent {first}`:", words[1], [name.split()[1] for name in group])
    return pair if pair in COMMANDS else first


def _app(name: str, chosen: Command | None) -> App:
    """Return the parser of the chosen command, or one that lists all of them."""
    app = App(
        name="renascent",
        help=ABOUT,
        help_format="markdown",
        version=lambda: str(renascent.__version__),
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    groups = {group: App(name=group, help=about, help_format="markdown") for group, about in GROUPS.items()}
    for group in groups.values():
        app.command(group)
    for other in [name] if chosen else COMMANDS:
        about = importlib.import_module(COMMANDS.places[other][0].partition(":")[0]).ABOUT
        flags = [*chosen.parts.values(), OUTPUT] if chosen else []
        takes = signed(chosen.words, flags, several=chosen.several) if chosen else lambda: None
        groups.get(other.split()[0], app).command(takes, name=other.split()[-1], help=about)
    return app


def _message(error: CycloptsError, name: str, command: Command | None) -> str:
    """Return one line for what the parser did not take."""
    error.verbose = False
    help_hint = f"`{_help(name, command)}` shows what it takes" if command else "see `renascent --help`"
    match error:
        case UnknownOptionError() if command:
            return _unknown_flag(error.token.keyword or error.token.value, name, command)
        case UnusedCliTokensError():
            return f"'{(error.unused_tokens or [''])[0]}' is one word too many: {help_hint}"
        case MissingArgumentError() if error.argument:
            return f"{error.argument.name} needs a value: {help_hint}"
        case RepeatArgumentError() if error.token:
            return f"{error.token.keyword} is given twice: give it once"
        case CoercionError() if error.token and error.token.keyword:
            return f"{error.token.keyword} cannot be '{error.token.value}': {help_hint}"
    return f"{str(error).rstrip('.')}: {help_hint}"


def _unknown_flag(given: str, name: str, command: Command) -> str:
    """Return what to do about a flag the command has not: it is another choice's, another command's, or a slip."""
    from renascent.cli.commands import fit, search

    flag = given.partition("=")[0].replace("_", "-")
    homes = [choice for choice, parts in search.owned().items() if choice and flag in _names(parts)]
    if name == "search" and homes:
        return f"{flag} is no flag of this search: it belongs to {', '.join(homes)}; leave it out, or choose that"
    others = {"search": search.owned(), "fit": {"": list(fit.command([]).parts.values())}}
    elsewhere = [o for o, parts in others.items() if o != name and any(flag in _names(p) for p in parts.values())]
    if elsewhere:
        return f"{flag} is no flag of `renascent {name}` but of `renascent {elsewhere[0]}`: leave it out"
    near = difflib.get_close_matches(flag, _names([*command.parts.values(), OUTPUT]), n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown flag {flag}: {hint}`{_help(name, command)}` lists them"


def _help(name: str, command: Command) -> str:
    return " ".join(["renascent", name, *command.chosen, "--help"])


def _names(parts: Sequence[Part]) -> list[str]:
    return [n for part in parts for flag in part.flags() for n in (flag.name, *flag.negative)]
