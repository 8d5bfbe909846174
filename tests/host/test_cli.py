"""The command line's own manners: help that fits, names that were misspelt."""

import click
import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon_isa.config import CONTRACT_VERSION


def commands(group: click.Group = cli, *path: str) -> list[list[str]]:
    found = [list(path)]
    for name, command in group.commands.items():
        inner = isinstance(command, click.Group)
        found += commands(command, *path, name) if inner else [[*path, name]]
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help_fits_80_columns_and_names_every_option(path):
    result = CliRunner().invoke(cli, [*path, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    shown = {option for p in command.params for option in p.opts if option.startswith("--")}
    assert shown <= set(result.stdout.replace(",", " ").split())


def test_training_options_are_in_groups():
    help_text = CliRunner().invoke(cli, ["train", "--help"]).stdout
    titles = [
        line[:-1] for line in help_text.splitlines() if line[:1].isalpha() and line[-1] == ":"
    ]
    assert titles == ["Data and network", "Rule", "Schedule", "Files", "Device", "Output"]


def test_tables_fit_80_columns():
    for command in (["boards"], ["info", "--presets"], ["rules"]):
        text = CliRunner().invoke(cli, command).stdout
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 80, command
        # A terminal too narrow for them folds lines; nothing is cut.
        assert CliRunner().invoke(cli, command, env={"COLUMNS": "40"}).stdout == text


def test_version_names_the_contract():
    said = CliRunner().invoke(cli, ["--version"]).stdout
    assert said.startswith("relaxon ") and said.endswith(f"contract {CONTRACT_VERSION}\n")


def test_the_old_name_of_virtual_is_gone():
    said = CliRunner().invoke(cli, ["board"])
    assert said.exit_code == 2 and "No such command 'board'" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["trian"], "train"),
        (["train", "--epoch", "3"], "--epochs"),
        (["train", "--backend", "golde"], "golden"),
        (["train", "--backend", "golden", "--preset", "ec5-85f"], "ecp5-85f"),
        (["train", "--backend", "golden", "--rule", "ep-centred"], "ep-centered"),
        (["train", "--backend", "golden", "--rule", "spsa", "-o", "detla=3"], "delta"),
        (["train", "--backend", "golden", "--data", "digts"], "digits"),
        (["rules", "--rule", "pnc"], "pcn"),
        (["estimate", "icebraker"], "icebreaker"),
        (["bench", "speed", "--data", "none", "--board", "IceBraker"], "icebreaker"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_misspelt_name_says_what_was_meant(arguments, meant):
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code in (2, 3, 5, 6)
    assert "did you mean" in result.stderr.lower() and meant in result.stderr.lower()


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "--backend", "Golden", "--preset", "UP5K"],
        ["estimate", "IceBreaker", "--layers", "8,4,2"],
    ],
    ids=str,
)
def test_names_may_be_in_any_case(arguments):
    assert CliRunner().invoke(cli, arguments).exit_code == 0


@pytest.mark.parametrize("rate", ["abc", "0", ""])
def test_a_rate_that_is_none_is_said_to_be_that(rate):
    said = CliRunner().invoke(cli, ["info", "--backend", f"/dev/ttyUSB1@{rate}"])
    assert said.exit_code == 6 and f"the rate {rate!r}" in said.stderr
