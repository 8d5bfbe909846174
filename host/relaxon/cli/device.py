"""`relaxon virtual | info`: devices."""

import json
import sys
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from textwrap import fill

import click

from relaxon_device.base import Device
from relaxon_isa import PRESETS, ArrayConfig, ConfigError, Register
from relaxon_isa.capture import capture_window, memory_size
from relaxon_isa.identity import fingerprint

from ..backends import open_device, tcp_bridge, virtual_board
from ..doctor import write_report
from ..machines import find_machine, to_toml
from ..runs import refuse_other_preset
from ..selftest import PARTS, SelfTest, self_test
from .boards import load_boards
from .console import DIFFERENT, bar, console, json_option, print_json, show
from .options import (
    any_case,
    check_output,
    file_option,
    files_of,
    force_option,
    preset_option,
)

__all__ = ["config", "info", "virtual"]


@click.command()
@preset_option
@click.option(
    "--family",
    help="Instantiate this FPGA family's primitives, simulated by their models.",
)
@click.option(
    "--divisor",
    default=2,
    show_default=True,
    type=click.IntRange(2, 1 << 16),
    help="Clocks a bit of its UART; 25 is a board of 75 MHz at 3,000,000 baud, cycle by cycle.",
)
@file_option("--vcd", "Write waveforms (slow).")
@file_option("--fst", "Write compressed waveforms (slow).")
@click.option(
    "--tcp",
    type=click.IntRange(0, 65535),
    help="Listen on this TCP port of this computer (0: a free one); the host connects with "
    "--backend socket://127.0.0.1:PORT, from any system.",
)
@force_option
def virtual(
    preset_name: str | None,
    family: str | None,
    divisor: int,
    vcd: Path | None,
    fst: Path | None,
    tcp: int | None,
    force: bool,
) -> None:
    """Run a virtual board until Ctrl-C; any serial client can talk to the port it prints."""
    if vcd and fst:
        raise click.UsageError("--vcd or --fst, not both")
    for path in (vcd, fst):
        check_output(path, files_of(preset_name), force)
    config = find_machine(preset_name or "default")
    with ExitStack() as stack:
        board = virtual_board(config, family=family, divisor=divisor, vcd=vcd, fst=fst)
        running = stack.enter_context(board)
        port = running.port
        if tcp is not None:
            port = stack.enter_context(tcp_bridge(port, tcp)).url
        click.echo(port)
        console.print(f"try: relaxon info --backend {port}   (Ctrl-C ends the board)")
        with suppress(KeyboardInterrupt):
            running.wait()


@click.command()
@click.option("--backend", callback=any_case, help="golden, virtual, or the name of a serial port.")
@preset_option
@click.option("--presets", is_flag=True, help="List the machines by name instead.")
@click.option(
    "--self-test/--no-self-test",
    "wanted",
    default=None,
    help="Test memories and arithmetic; overwrites all memories and counters. Default: only a "
    "board that nobody has used since power-on.",
)
@file_option("--report", "Write all that helps to find a fault, to be sent with it (JSON).")
@force_option
@json_option
def info(
    backend: str | None,
    preset_name: str | None,
    presets: bool,
    wanted: bool | None,
    report: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Say what a device is: its array, memories, fingerprint and counters; or list the presets.

    --config machine.toml without a --backend shows that machine as the presets are shown; with the
    name of a port, it says whether the board there is that machine.

    At its first contact after power-on a board is tested: its memories, MAC, LEARN and sequencer,
    compared with the golden model to the last bit, and is left cleared, as it was. The counters
    shown are those from before. Exit code 9: it failed.
    """
    if presets or backend is None:
        if wanted is not None or report:
            raise click.UsageError("--self-test and --report are about a device: name a --backend")
        if backend:
            raise click.UsageError("--presets lists machines, --backend names one: leave one out")
        own = {preset_name: find_machine(preset_name)} if preset_name else {}
        _list_machines((PRESETS if presets or not own else {}) | own, as_json)
        return
    check_output(report, files_of(preset_name), force)
    with bar(f"opening {backend}"):
        opened = open_device(backend, preset_name or "default")
    with opened as device:
        refuse_other_preset(backend, preset_name, device.config)
        identity, counters = device.identity, device.counters()
        result, said = _self_test(device, backend, wanted)
    config = identity.config
    stats = opened.link_stats
    window = None
    if config.sample_memory:
        memory = counters[Register.MEMORY]
        counters[Register.MEMORY] = memory_size(memory)
        window = capture_window(memory) if backend != "golden" else None
    facts: dict = {
        "fingerprint": identity.fingerprint,
        "build": identity.build,
        "clock_hz": identity.clock_hz,
        "baud": identity.baud,
        "config": json.loads(config.to_json()),
        "counters": {register.name.lower(): value for register, value in counters.items()},
        **({"capture": window} if window else {}),
        "link": asdict(stats) if stats else {},
        "self_test": {"said": said} | (asdict(result) if result else {}),
    }
    if result:
        facts["self_test"]["passed"] = result.passed
    if report:
        write_report(report, facts)
        console.print(f"report in {report}: it has no names of yours in it", markup=False)
    if not print_json(facts, as_json):
        shown = facts | facts["config"] | facts["counters"] | {"self-test": said}
        shown |= {"line": str(stats)} if stats else {}
        show((), (row for row in shown.items() if not isinstance(row[1], dict)))
    if result and not result.passed:
        for line in result.failures():
            console.print(line, markup=False, soft_wrap=True)
        console.print(
            "[bold red]error:[/] the self-test failed: what this board computes cannot be trusted",
            soft_wrap=True,
        )
        sys.exit(DIFFERENT)


def _self_test(device: Device, backend: str, wanted: bool | None) -> tuple[SelfTest | None, str]:
    """Run the self-test if wanted. Returns (result or None, one-line summary)."""
    if wanted is None and backend == "golden":
        return None, "not run: the golden model is what boards are compared with"
    if wanted is None and not device.unused:
        return None, (
            "not run: in use since power-on; relaxon info --self-test runs it and overwrites "
            "all memories"
        )
    if wanted is False:
        return None, "not run"
    try:
        with bar("self-test", len(PARTS)) as progress:
            result = self_test(device, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "interrupted; the self-test's patterns are in the memories until they are written or "
            "the test is run again"
        ) from None
    except ConfigError as error:
        if wanted:
            raise
        return None, f"not run: {error}"
    failed = [name for name, part in result.parts.items() if not part.passed]
    if failed:
        return result, f"FAILED: {', '.join(failed)}"
    return result, f"passed: {', '.join(result.parts)}"


def _list_machines(machines: dict[str, ArrayConfig], as_json: bool) -> None:
    if print_json({n: json.loads(c.to_json()) for n, c in machines.items()}, as_json):
        return
    # bits: of a state / of a weight
    show(
        ("preset", "cells", "bits", "weights", "levels", "features", "fingerprint"),
        (
            (
                name,
                f"{c.p} x {c.p}",
                f"{c.state_bits}/{c.weight_bits}",
                c.weight_depth * c.p * c.p,
                c.levels,
                fill(", ".join(c.features), 9),
                fingerprint(c),
            )
            for name, c in machines.items()
        ),
    )


@click.command()
@click.argument("name", default="default")
def config(name: str) -> None:
    """Print a machine as TOML: a preset, a board's, or a file's with all of its fields.

    A machine of your own begins with one of these:

    \b
        relaxon config ecp5-85f > machine.toml

    Change what should be otherwise, and give the file to --config wherever a preset is taken:
    train, infer, virtual, info, and estimate, build and flash for a board.
    """
    title = "Fields that are left out have the values of `base`, or without it of preset default."
    try:
        found = find_machine(name)
    except ConfigError as error:
        try:
            board = load_boards("catalogue").find_board(name)
        except ConfigError:
            raise error from None
        found, title = board.config, f"What board {board.name} is built as."
    click.echo(to_toml(found, title), nl=False)
