"""1BitSquared iCEBreaker."""

from .board import Board, Pll

BOARDS = (
    Board(
        name="icebreaker",
        title="1BitSquared iCEBreaker",
        device="iCE40UP5K",
        family="ice40",
        platform="amaranth_boards.icebreaker:ICEBreakerPlatform",
        preset="up5k",
        crystal_hz=12_000_000,
        pll=Pll(ref=1, feedback=64, out=32, pad=True),
        clock_hz=24_000_000,
        baud=3_000_000,
        usb="FT2232H",
        flash=("-b", "ice40_generic"),
        primitives="ice40",
        capacity={"DSP": 8, "BRAM": 30, "SPRAM": 4},
    ),
)
