"""The golden run beside a device's: another process, the same spec, every bit compared."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from threading import Thread

import numpy as np

from relaxon_isa import ArrayConfig, ToolError

from .checkpoint import Checkpoint

__all__ = ["GoldenRun"]

MODULE = "relaxon.verify"


class GoldenRun:
    """Starts training the golden model at once; `compare` waits for it.

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
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it could not start: `compare` says why
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def compare(self, weights: list[np.ndarray]) -> bool:
        """Whether every bit of these integer matrices is as the golden run left it."""
        assert self._process.stdout and self._process.stderr
        try:
            found = self._process.stdout.read()
            message = self._process.stderr.read().decode(errors="replace")
            if self._process.wait():
                raise ToolError(f"the golden run failed: {message.strip().splitlines()[-1:]}")
            with np.load(BytesIO(found)) as arrays:
                golden = [arrays[name] for name in arrays.files]
        finally:
            self.stop()
        return len(golden) == len(weights) and all(map(np.array_equal, golden, weights))

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()


def run(request: dict) -> list[np.ndarray]:
    """Train the golden model as a request of `GoldenRun` says; returns its integer weights."""
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
        while trainer.epoch < settings.epochs:
            trainer.run_epoch()
        return trainer.weights()


def end_with_parent() -> None:
    """End this process when the one that started it has ended, whatever ended it: then standard
    input does."""
    while os.read(sys.stdin.fileno(), 1 << 16):  # not by sys.stdin, which would hold up our own end
        pass
    os._exit(1)


if __name__ == "__main__":
    wanted = json.loads(sys.stdin.buffer.readline())
    Thread(target=end_with_parent, daemon=True).start()
    np.savez(sys.stdout.buffer, *run(wanted))
    sys.stdout.flush()
