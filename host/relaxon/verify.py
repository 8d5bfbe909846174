"""The golden run beside a device's: another process, the same spec, every bit compared."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np

from relaxon_isa import ArrayConfig, ToolError

from .checkpoint import Checkpoint
from .record import digest_of

__all__ = ["GRACE", "GoldenRun"]

MODULE = "relaxon.verify"
GRACE = 30.0
"""Seconds that a golden run has beyond the training that it is compared with."""
GAP = 10.0
"""Seconds between two epochs that are noted, at least: a board's weights take time to read."""


class GoldenRun:
    """Starts training the golden model at once. `note` keeps what the device's weights are after
    an epoch, `compare` waits for the golden run to come there.

    Parameters
    ----------
    config
        Of the device that is judged.
    spec
        Of the run, as in a checkpoint.
    init, resume
        Files that the run starts from.
    """

    def __init__(
        self,
        config: ArrayConfig,
        spec: dict,
        *,
        init: Path | None = None,
        resume: Path | None = None,
    ) -> None:
        request = {
            "config": config.to_json(),
            "spec": spec,
            "init": str(init) if init else None,
            "resume": str(resume) if resume else None,
        }
        # A session of its own: Ctrl-C is the parent's to handle. Its standard input stays open as
        # long as this process lives, however that ends, and it watches that.
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._found: dict[int, str] = {}
        self._noted: dict[int, str] = {}
        self._last = -GAP
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it could not start: `compare` says why
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        """Take what the process says: an epoch and the digest of its weights a line."""
        assert self._process.stdout
        with suppress(ValueError):  # closed meanwhile
            for line in self._process.stdout:
                epoch, digest = line.split()
                self._found[int(epoch)] = digest.decode()

    def note(self, epoch: int, weights: Callable[[], list[np.ndarray]]) -> None:
        """Keep what a device's weights are after an epoch; they are asked for now and then."""
        if time.monotonic() - self._last >= GAP:
            self._noted[epoch] = digest_of(weights())
            self._last = time.monotonic()

    def compare(
        self, epoch: int, weights: list[np.ndarray], seconds: float | None = None
    ) -> tuple[bool, int]:
        """Whether every bit of these integer matrices is as the golden run has it after an epoch.

        ``seconds``: as long as that is waited for; then epochs before it that were noted are
        compared. Returns whether all that was compared is identical, and the last epoch of it; 0:
        none.
        """
        assert self._process.stderr
        try:
            self._reader.join(seconds)
            if not self._reader.is_alive() and self._process.wait():
                message = self._process.stderr.read().decode(errors="replace")
                raise ToolError(f"the golden run failed: {message.strip().splitlines()[-1:]}")
        finally:
            self.stop()
        noted = {**self._noted, epoch: digest_of(weights)}
        both = sorted(noted.keys() & self._found.keys())
        return all(noted[e] == self._found[e] for e in both), both[-1] if both else 0

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join()  # it ends with the process
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()


def run(request: dict) -> None:
    """Train the golden model as a request of `GoldenRun` says; prints each epoch's number and the
    digest of its integer weights."""
    from .backends import open_device
    from .network import Network
    from .runs import initial_of, load_data
    from .training import Trainer, TrainSettings

    spec = request["spec"]
    network = Network.parse(spec["network"])
    settings = TrainSettings.from_json(spec["settings"])
    config = ArrayConfig.from_json(request["config"])
    with open_device("golden", config) as device:
        trainer = Trainer(device, network, load_data(spec), settings)
        if request["resume"]:
            trainer.resume(Checkpoint.load(Path(request["resume"])))
        elif request["init"]:
            trainer.start(initial_of(Path(request["init"]), network, settings))
        else:
            trainer.start()
        print(trainer.epoch, digest_of(trainer.weights()), flush=True)
        while trainer.epoch < settings.epochs:
            trainer.run_epoch()
            print(trainer.epoch, digest_of(trainer.weights()), flush=True)


def end_with_parent() -> None:
    """End this process when the one that started it has ended, whatever ended it: then standard
    input does."""
    while os.read(sys.stdin.fileno(), 1 << 16):  # not by sys.stdin, which would hold up our own end
        pass
    os._exit(1)


if __name__ == "__main__":
    wanted = json.loads(sys.stdin.buffer.readline())
    Thread(target=end_with_parent, daemon=True).start()
    run(wanted)
