"""What a machine takes of a board's memories and multipliers, and what is said where it is more."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon_boards.catalogue import BOARDS
from relaxon_boards.fit import check_fit, needs, possible
from relaxon_boards.report import Report
from relaxon_hdl.families import FAMILIES, Family
from relaxon_isa.errors import ConfigError
from relaxon_isa.identity import fingerprint
from relaxon_isa.presets import PRESETS

REPORTS = Path(__file__).parents[2] / "boards/reports"


@pytest.mark.parametrize("name", BOARDS)
def test_counted_is_what_a_build_took(name):
    """To two block RAMs of what does not depend on the machine; and there is what the tools say."""
    board, report = BOARDS[name], Report.read(REPORTS / f"{name}.json")
    check_fit(board, board.config)
    counted = needs(board, board.config)
    assert counted.keys() == report.resources.keys() & {"SPRAM", "BRAM", "BRAM18", "DSP"}
    for label, need in counted.items():
        used, available = report.resources[label]
        assert need.available == available
        assert abs(need.used - used) <= (2 if "BRAM" in label else 0)


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("other", PRESETS)
def test_what_would_fit_fits_and_nothing_larger_does(name, other):
    board, config = BOARDS[name], PRESETS[other]
    if all(need.used <= need.available for need in needs(board, config).values()):
        check_fit(board, config)
        return
    with pytest.raises(ConfigError, match=f"does not fit {name}: it needs .* would fit"):
        check_fit(board, config)
    for field, value in possible(board, config):
        check_fit(board, config.replace(**{field: value}))
        if field in ("p", "weight_bits"):
            with pytest.raises(ConfigError):
                check_fit(board, config.replace(**{field: value + 1}))


def test_what_is_said_counts():
    with pytest.raises(ConfigError) as caught:
        check_fit(BOARDS["ulx3s-12f"], PRESETS["ecp5-85f"])
    assert str(caught.value).startswith(
        "the machine does not fit ulx3s-12f: it needs BRAM 200 (weights 144, states 24, drives 24, "
        "program 3, link 3, others 2), there are 56; DSP 144 (cells 144), there are 28. What would "
        "fit, all else as it is: p = 5;"
    )
    with pytest.raises(ConfigError, match=r"p = \d with \w+ = \d+"):  # no field alone is enough
        check_fit(BOARDS["hx8k"], PRESETS["up5k"])
    with pytest.raises(ConfigError, match=r"Nothing near would fit; .*: relaxon config icebreaker"):
        check_fit(BOARDS["icebreaker"], PRESETS["ecp5-25f"])


def test_of_a_family_that_nobody_described_it_is_said(monkeypatch):
    """Not that everything fits."""
    new = Family(name="new", suffix=".bit", synthesis="synth_new")
    monkeypatch.setitem(FAMILIES, new.name, new)
    board = replace(BOARDS["hx8k"], family=new.name, pll=None, clock_hz=12_000_000)
    with pytest.raises(ConfigError, match=r"^hx8k: .* of new are not described here: build .* as"):
        check_fit(board, PRESETS["up5k"])


def test_estimate_and_build_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text('base = "ecp5-25f"\nweight_bits = 12\n')
    Path("large.toml").write_text('base = "ecp5-25f"\nweight_depth = 4096\n')
    run = CliRunner().invoke
    told = run(cli, ["estimate", "ulx3s-25f", "--config", "small.toml", "--layers", "64,32,10"])
    assert told.exit_code == 0 and "64-32-10 fits ulx3s-25f (5 x 5 cells" in told.stdout
    for command in ("estimate", "build", "flash"):
        told = run(cli, [command, "ulx3s-25f", "--config", "large.toml"])
        assert told.exit_code == 3 and "weight_depth = 1024 or p = " in told.stderr, told.output
    told = run(cli, ["flash", "ulx3s-25f", "--config", "small.toml"])
    assert "build/ulx3s-25f-small/ulx3s-25f.bit" in told.stderr


def test_a_boards_machine_as_a_file(tmp_path, monkeypatch):
    told = CliRunner().invoke(cli, ["config", "Icebreaker"])
    assert told.exit_code == 0 and "weight_depth = 16384" in told.stdout
    monkeypatch.chdir(tmp_path)
    file = Path("machine.toml")
    file.write_text(told.stdout)
    shown = CliRunner().invoke(cli, ["info", "--config", str(file)]).stdout
    assert re.search(rf"{file}.*{fingerprint(BOARDS['icebreaker'].config)}", shown)
