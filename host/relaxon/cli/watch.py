"""`relaxon train --watch`: how a training goes, live in the terminal."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..callbacks import Callback, Figures
from ..training import Trainer
from .console import console

__all__ = ["Watch", "sparkline"]

POINTS = 25
"""Looks an epoch."""
WIDTH = 40


class Watch(Callback):
    """A view that is redrawn while a training runs; a context manager. Told as a callback, and
    given to `Trainer.epochs` as what shows its steps."""

    def __init__(self) -> None:
        self.curves: dict[str, list[float]] = {}
        self.last: Figures = {}
        self.label, self.total, self.done = "", 1, 0
        self._trained, self._seconds, self._since = 0, 0.0, 0.0
        self._left = 0
        self._live = Live(
            console=console, refresh_per_second=6, transient=True, get_renderable=self.draw
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def on_start(self, trainer: Trainer) -> None:
        epochs = trainer.settings.epochs - trainer.epoch
        self._left = epochs * len(trainer.data.y_train)

    def on_samples(self, trainer: Trainer, figures: Figures) -> None:
        self._note(figures, ("online_accuracy", "sweeps_per_sample"))

    def on_epoch(self, trainer: Trainer, figures: Figures) -> None:
        self._note(figures, [name for name in figures if name.startswith("test_")])

    def _note(self, figures: Figures, names: Sequence[str]) -> None:
        self.last = figures
        for name in names:
            if name in figures:
                self.curves.setdefault(name, []).append(figures[name])

    @contextmanager
    def shown(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """The progress of a step, as `relaxon.cli.console.bar`."""
        self.label, self.total, self.done = label, max(1, total), 0
        self._since, trains = time.monotonic(), label.startswith("epoch")

        def progress(samples: int) -> None:
            self.done += samples
            if trains:
                now = time.monotonic()
                self._seconds += now - self._since
                self._since = now
                self._trained += samples

        yield progress

    def draw(self) -> Table:
        """The view as it is now."""
        table = Table.grid(padding=(0, 2))
        pace = f"{self.done:,}/{self.total:,}"
        if self._seconds and self._trained:
            rate = self._trained / self._seconds
            left = timedelta(seconds=round(max(0, self._left - self._trained) / rate))
            pace += f"  {rate:,.0f} samples/s  {left} left"
        table.add_row(self.label, ProgressBar(self.total, self.done, width=WIDTH), pace)
        for name, form in (
            ("online_accuracy", ".2%"),
            ("test_accuracy", ".2%"),
            ("test_mse", ".5f"),
            ("sweeps_per_sample", ".1f"),
        ):
            if curve := self.curves.get(name):
                bars = sparkline(curve, WIDTH, ascii_only=console.options.ascii_only)
                title = name.replace("online_accuracy", "while training").replace("_", " ")
                table.add_row(title, Text(bars, style="cyan"), f"{curve[-1]:{form}}")
        if self.last:
            states, weights = (self.last[f"{kind}_saturations"] for kind in ("state", "weight"))
            table.add_row("saturations", "", f"{states:,} states, {weights:,} weights")
        return table


def sparkline(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """The last values as bars, from the lowest to the highest of them."""
    ramp = "_.-=*#" if ascii_only else "▁▂▃▄▅▆▇█"
    shown = values[-width:]
    low, high = min(shown), max(shown)
    steps = len(ramp) - 1
    return "".join(ramp[round((v - low) / (high - low or 1) * steps)] for v in shown)
