"""Words of a command line that cannot be used: one line, exit code 2, nothing written."""

from __future__ import annotations

from typing import Any

import pytest

from renascent.cli.entry import main

GDAS = "search nats-topology --strategy gdas --data digits"
DIGITS = "9" * 400
LONG = "x" * 100_000

REFUSED = {
    f"{GDAS} --seed {2**63}": "--seed is '9223372036854775808': give a whole number below 2**63",
    f"{GDAS} --seed {DIGITS}": "--seed is '999",
    f"{GDAS} --epochs {DIGITS}": "--epochs is '999",
    f"{GDAS} --epochs {'9' * 5000}": "--epochs is '999",
    f"{GDAS} --epochs -{DIGITS}": "--epochs is '-999",
    f"{GDAS} --lr {DIGITS}": "--lr is '999",
    f"{GDAS} --lr 1e999": "--lr is '1e999'",
    f"{GDAS} --lr -inf": "--lr is '-inf'",
    f"{GDAS} --batch ²": "--batch is '²': give a whole number of at least 1",
    f"{GDAS} --batch ٣": "--batch is '٣': give a whole number of at least 1",
    f"{GDAS} --lr ٣": "--lr is '٣': give a number",
    f"{GDAS} --batch 0x10": "--batch is '0x10'",
    f"{GDAS} --batch 1e3": "--batch is '1e3'",
    f"{GDAS} --threads {2**40}": "--threads is '1099511627776': give a whole number from 1 to 1024",
    f"{GDAS} --device cuda:{DIGITS}": "--device is 'cuda:999",
    f"{GDAS} --device cuda:²": "--device is 'cuda:²'",
    f"{GDAS} --budget macs<={DIGITS}": "give a finite number above 0",
    f"{GDAS} --budget macs<=²": "cannot be read",
    f"{GDAS} --budget {LONG}": "budget 'xxx",
    f"{GDAS} --operations {LONG}": "unknown operation",
    f"{GDAS} --{LONG} 1": "unknown flag --xxx",
    f"{GDAS} --{LONG}": "unknown flag --xxx",
    f"{GDAS} {LONG}": "is one word too many",
    f"{GDAS} --seed {LONG}": "--seed is 'xxx",
    f"search {LONG}": "unknown space",
    f"search nats-topology --strategy {LONG} --data digits": "unknown strategy",
    f"search nats-topology --strategy gdas --data {LONG}": "unknown data set",
    f"search nats-topology --strategy gdas --data {'x/' * 3000}": "unknown data set",
    f"search --recipe {LONG}": "unknown recipe",
    LONG: "unknown command",
    f"bench {LONG}": "unknown command",
    f"fit {LONG}": "File name too long",
    f"fit {'x/' * 3000}": "File name too long",
    f"report {LONG}": "File name too long",
    f"export {LONG} --to pt2": "File name too long",
    f"export run --to {LONG}": "unknown format",
    f"{GDAS} --out ''": "there is an empty word after --out",
    f"{GDAS} --out=": "--out is empty",
    f"{GDAS} --budget ''": "there is an empty word after --budget",
    "search nats-topology --strategy gdas --data ''": "there is an empty word after --data",
    "search '' --strategy gdas": "there is an empty word after search",
    "''": "there is an empty word after the command",
    "fit ''": "there is an empty word after fit",
    f"cost resnet20 --input {DIGITS},32,32": "--input is '999",
    "cost resnet20 --input ²,32,32": "--input is '²,32,32'",
    "cost resnet20 --input ٣,32,32": "--input is '٣,32,32'",
    f"cost resnet20 --classes {2**64}": "--classes is '18446744073709551616'",
    f"{GDAS} --out {LONG}": "name too long",
    f"{GDAS} --pretrained {'x' * 300}": "File name too long",
    f"{GDAS} --out 'a\x1b[31mb' --epochs 0": "--epochs is '0'",
}


@pytest.mark.parametrize("line", REFUSED, ids=range(len(REFUSED)))
def test_words_that_cannot_be_used_are_one_line(refused: Any, line: str) -> None:
    refused(line, REFUSED[line])


@pytest.mark.parametrize("words", [["fit", "a\0b"], ["report", "\0"], ["search", "nats-topology", "--out", "\0"]])
def test_a_nul_is_refused(say: Any, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == "renascent: a word holds a NUL, which no name can: leave it out\n"


def test_letters_that_are_none_are_written_all_the_same(say: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "caf\udce9"]) == 2
    assert "there is no folder caf" in capsys.readouterr().err
