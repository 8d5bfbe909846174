"""Cosimulation: a component of the gateware under Verilator, its bench in Python under cocotb.

A bench is a file of ``@cocotb.test()`` coroutines (`bench` has what they need). A pytest test,
perhaps in the same file, runs it::

    def test_adder():
        simulate(Adder(width=8), __file__, parameters={"width": 8})

    @cocotb.test()
    async def adds(dut):
        rng = bench.random_source("operands")
        ...
"""

import contextlib
import hashlib
import io
import json
import logging
import tempfile
import xml.etree.ElementTree as xml
from collections.abc import Mapping
from pathlib import Path

from amaranth.lib import wiring

import relaxon_sim
from relaxon_hdl.tools.cache import made_once
from relaxon_hdl.tools.find import tool_version
from relaxon_hdl.tools.verilog import to_verilog

from ..cells import cell_models
from ..model import compile_model, verilate

__all__ = ["simulate"]

KEEP = 100


def simulate(
    component: wiring.Component,
    file: str | Path,
    *,
    parameters: Mapping[str, object] | None = None,
    testcase: str | None = None,
    seed: int = 0,
    family: str | None = None,
    visible: bool = False,
    vcd: Path | None = None,
) -> None:
    """Build a component, kept in the user's cache, and run the cocotb tests of a file on it.

    Parameters
    ----------
    component
        Becomes ``dut``: its ports are the component's members (``a__b``) and ``clk``.
    file
        Python source of the bench.
    parameters
        What JSON can carry; `bench.parameters` returns it to the bench.
    testcase
        Only this one of the file's tests.
    seed
        Seed of `bench.random_source`.
    family
        FPGA family whose primitives the component instantiates.
    visible
        Whether inner signals can be seen, not the ports alone. Several times slower.
    vcd
        Write waveforms to this file.

    Raises AssertionError, with the simulation's output, when a test fails. The output is printed
    in any case (pytest shows it on failure), the seed with it.
    """
    from cocotb_tools.runner import get_runner

    file = Path(file).resolve()
    home = _build(component, family, visible=visible, waves=vcd is not None)
    print(f"seed {seed}; simulation {home}")
    logging.getLogger("Verilator").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="relaxon-cosim-") as directory:
        work = Path(directory)
        log, results = work / "log", work / "results.xml"
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                get_runner("verilator").test(
                    test_module="relaxon_sim.cosim.entry",
                    hdl_toplevel="top",
                    hdl_toplevel_lang="verilog",
                    build_dir=home,
                    test_dir=work,
                    testcase=testcase,
                    seed=seed,
                    results_xml=str(results),
                    log_file=log,
                    test_args=["--trace", "--trace-file", str(vcd.absolute())] if vcd else [],
                    extra_env={
                        "RELAXON_BENCH": str(file),
                        "RELAXON_PARAMETERS": json.dumps(dict(parameters or {})),
                        "COCOTB_ANSI_OUTPUT": "0",
                        # It would load pytest's plugins and translate every module anew: 1.5 s.
                        "COCOTB_REWRITE_ASSERTION_FILES": "",
                        "PYTHONWARNINGS": "",
                    },
                )
        except (SystemExit, RuntimeError):
            pass  # the results say it better
        output = log.read_text(errors="replace") if log.exists() else ""
        print(output)
        failed = _failures(results)
    if failed:
        raise AssertionError(f"{', '.join(failed)} (seed {seed})\n{_tail(output)}")


def _failures(results: Path) -> list[str]:
    """Names of the tests that did not pass; something, too, if there were none."""
    if not results.exists():
        return ["the simulation ended before its tests did"]
    cases = list(xml.parse(results).getroot().iter("testcase"))
    failed = [
        case.get("name", "?")
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    ran = [case for case in cases if case.find("skipped") is None]
    return failed if ran else ["no test ran: is the testcase's name right?"]


def _tail(output: str) -> str:
    """The end of the output without the table that cocotb prints last."""
    lines = [line for line in output.splitlines() if "**" not in line]
    return "\n".join(lines[-40:])


def _build(component: wiring.Component, family: str | None, *, visible: bool, waves: bool) -> Path:
    """The directory with the simulation's program, ``top``."""
    import cocotb
    import cocotb_tools.config as cocotb_config

    verilog, models = to_verilog(component), cell_models(family)
    here = Path(relaxon_sim.__path__[0])
    known = (cocotb.__version__, tool_version("verilator"), visible, waves)
    libs = cocotb_config.libs_dir
    made_by = "".join(path.read_text() for path in (here / "model.py", Path(__file__)))
    text = f"{verilog}{models}{known}{libs}{made_by}"

    def make(work: Path) -> None:
        (work / "top.v").write_text(verilog)
        # With --public-flat-rw the depth is of no effect: all that is inside stays, and can be set.
        seen = ["--public-flat-rw"] if visible else ["--public-depth", "1"]
        verilate(
            work,
            waves="vcd" if waves else None,
            models=models,
            options=["--vpi", *seen, "--timescale", "1ns/1ps"],
        )
        compile_model(
            work,
            cocotb_config.share_dir / "lib" / "verilator" / "verilator.cpp",
            "top",
            waves="vcd" if waves else None,
            runtime=["verilated_vpi.cpp"],
            link=[f"-Wl,-rpath,{libs}", f"-L{libs}", "-lcocotbvpi_verilator"],
        )

    key = hashlib.sha256(text.encode()).hexdigest()[:24]
    return made_once("cosim", key, "top", make, KEEP).parent
