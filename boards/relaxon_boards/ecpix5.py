"""LambdaConcept ECPIX-5 85F."""

from .board import Board, Pll

BOARDS = (
    Board(
        name="ecpix5-85f",
        title="LambdaConcept ECPIX-5 85F",
        device="LFE5UM5G-85F-8",
        family="ecp5",
        platform="amaranth_boards.ecpix5:ECPIX585Platform",
        preset="ecp5-85f",
        crystal_hz=100_000_000,
        pll=Pll(ref=25, feedback=27, out=6),
        clock_hz=108_000_000,  # of which 3 Mbaud are a 36th
        baud=3_000_000,
        usb="FT2232H",
        flash=("-b", "ecpix5"),
        primitives="ecp5",
        capacity={"DSP": 156, "BRAM": 208},
    ),
)
