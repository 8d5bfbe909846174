"""The golden run beside a device's: another process, the same spec, every bit compared."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

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
        self._folder = TemporaryDirectory(prefix="relaxon-")
        self._result = Path(self._folder.name) / "golden.npz"
        request = {
            "config": config.to_json(),
            "spec": spec,
            "init": str(init) if init else None,
            "resume": str(resume) if resume else None,
            "result": str(self._result),
        }
        # A session of its own: Ctrl-C is the parent's to handle.
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request))
        self._process.stdin.close()

    def compare(self, weights: list[np.ndarray]) -> bool:
        """Whether every bit of these integer matrices is as the golden run left it."""
        try:
            assert self._process.stderr
            message = self._process.stderr.read()
            if self._process.wait():
                raise ToolError(f"the golden run failed: {message.strip().splitlines()[-1:]}")
            golden = Checkpoint.load(self._result).weights
        finally:
            self.stop()
        return len(golden) == len(weights) and all(map(np.array_equal, golden, weights))

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()
        self._folder.cleanup()


def run(request: dict) -> None:
    """Train the golden model as a request of `GoldenRun` says, and save its checkpoint."""
    from .backends import open_device
    from .checkpoint import load_float_weights
    from .datasets import load
    from .network import Network
    from .training import Trainer, TrainSettings

    spec = request["spec"]
    network = Network(tuple(spec["sizes"]))
    settings = TrainSettings.from_json(spec["settings"])
    config = ArrayConfig.from_json(request["config"])
    with open_device("golden", config) as device:
        trainer = Trainer(device, network, load(spec["data"]), settings)
        if request["resume"]:
            trainer.resume(Checkpoint.load(Path(request["resume"])))
        else:
            initial = request["init"] and load_float_weights(Path(request["init"]), network)
            trainer.start(initial or None)
        while trainer.epoch < settings.epochs:
            trainer.run_epoch()
        trainer.checkpoint(spec).save(Path(request["result"]))


if __name__ == "__main__":
    run(json.load(sys.stdin))
