"""Short runs of every kind, by command, on data that are made beside them."""

from pathlib import Path

import numpy as np

DATA = {"x": np.arange(60).reshape(20, 3) / 60, "y": np.arange(20) % 2}
RULE = """
from relaxon.rules.ep import PositiveEP


class Halves(PositiveEP):
    name = "halves"
    DEFAULTS = {"beta": 0.25}
"""
SMALL = ("--layers", "3,4,2", "--epochs", 2)
KINDS: dict[str, tuple[object, ...]] = {
    "regression": ("--data", "targets.npz", "--layers", "3,4,1", "--epochs", 2),
    "convolution": ("--data", "images.npz", "--layers", "6x6x1,3c3s2,2", "--epochs", 2),
    "recipe fast": ("--data", "data.npz", *SMALL, "--recipe", "fast"),
    "cross-entropy": ("--data", "data.npz", *SMALL, "--objective", "cross-entropy"),
    "backward": ("--data", "data.npz", *SMALL, "--architecture", "backward"),
    "random": ("--data", "data.npz", *SMALL, "--rule", "ep-random", "--seed", 5),
    "scaled csv": ("--data", "data.csv", "--scale", *SMALL),
    "on the host": ("--data", "data.npz", *SMALL, "--rule", "in-silico"),
    "own rule": ("--data", "data.npz", *SMALL, "--rule", "mine.py:Halves"),
}


def folder_of_data(folder: Path) -> None:
    """The files that `KINDS` name."""
    np.savez(folder / "data.npz", **DATA)
    np.savez(folder / "targets.npz", x=DATA["x"], y=np.arange(20) / 40)
    np.savez(folder / "images.npz", x=np.arange(720).reshape(20, 36) % 64 / 64, y=DATA["y"])
    rows = [",".join([*map(str, row * 7 - 3), "ab"[n % 2]]) for n, row in enumerate(DATA["x"])]
    (folder / "data.csv").write_text("\n".join(["p,q,r,kind", *rows]) + "\n")
    (folder / "mine.py").write_text(RULE)
