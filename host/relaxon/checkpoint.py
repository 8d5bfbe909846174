"""Checkpoints: everything a run needs to go on and end with the same bits; and float exports."""

import json
import os
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from relaxon_isa.config import CONTRACT_VERSION
from relaxon_isa.errors import DataError
from relaxon_isa.memory import Register

from .network import Network

__all__ = ["Checkpoint", "load_float_weights", "save_float_weights", "write_npz"]

FORMAT = "relaxon checkpoint"


@dataclass
class Checkpoint:
    """A training run after a number of whole epochs.

    ``weights``: integer matrices (`Layout.shapes`). ``registers``: all of `Register`, keys and
    counters, by name. ``spec``: what the run was asked for (JSON values). ``history``: one entry
    an epoch.
    """

    sizes: tuple[int, ...]
    fingerprint: str
    weights: list[np.ndarray]
    registers: dict[str, int]
    epoch: int
    spec: dict
    history: list[dict] = field(default_factory=list)
    contract: int = CONTRACT_VERSION

    @property
    def network(self) -> Network:
        return Network(self.sizes)

    def save(self, path: Path) -> None:
        """Write it whole or not at all; what was there before stays until then."""
        meta = {
            "format": FORMAT,
            "contract": self.contract,
            "fingerprint": self.fingerprint,
            "sizes": self.sizes,
            "registers": self.registers,
            "epoch": self.epoch,
            "spec": self.spec,
            "history": self.history,
        }
        arrays = {f"weights_{i}": w for i, w in enumerate(self.weights, start=1)}
        write_npz(path, {"meta": np.array(json.dumps(meta)), **arrays}, "--resume")

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Raises DataError if the file is absent, damaged, or of another contract."""
        arrays = _read_npz(path)
        try:
            meta = json.loads(str(arrays["meta"]))
            if meta["format"] != FORMAT:
                raise KeyError("format")
            network = Network(tuple(meta["sizes"]))
            weights = [arrays[f"weights_{i}"] for i in range(1, len(arrays))]
            saved = cls(
                sizes=network.sizes,
                fingerprint=str(meta["fingerprint"]),
                weights=weights,
                registers={r.name: int(meta["registers"][r.name]) for r in Register},
                epoch=int(meta["epoch"]),
                spec=meta["spec"],
                history=list(meta["history"]),
                contract=meta["contract"],
            )
            if saved.epoch < 0 or not isinstance(saved.spec, dict):
                raise ValueError("epoch or spec")
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(
                f"{path}: not a relaxon checkpoint (weights written by --export are read with "
                "--init by 'train', with --layers by 'infer')"
            ) from error
        if meta["contract"] != CONTRACT_VERSION:
            raise DataError(
                f"{path}: written under contract {meta['contract']}, this is "
                f"{CONTRACT_VERSION}: a run cannot go on across contracts; export its weights "
                "with the version that wrote it (--export) and start from them (--init)"
            )
        if [w.shape for w in weights][: network.depth] != network.shapes:
            raise DataError(f"{path}: weights do not have the shapes of {network}")
        if not all(np.issubdtype(w.dtype, np.integer) for w in weights):
            raise DataError(f"{path}: weights of a checkpoint are integers, these are not: damaged")
        return saved


def write_npz(path: Path, arrays: dict[str, np.ndarray], option: str) -> None:
    """Write an .npz atomically: a full disk or a crash leaves the old file.

    What cannot be written there may be hours of training: it goes to the system's folder of
    temporary files then, and the DataError says where it is, and which ``option`` takes it.
    """
    path = Path(path)
    written = None
    try:
        written = _write(arrays, path.parent, path.name, ".part")
        written.replace(path)
    except OSError as error:
        kept = "; the file that was there before is kept" if path.exists() else ""
        with suppress(OSError):
            written = written or _write(arrays, None, f"{path.stem}-", ".npz")
            kept += f"; what it was to hold is in {written}, for {option}"
        raise DataError(f"{path}: cannot be written ({error.strerror or error}){kept}") from error


def _write(arrays: dict[str, np.ndarray], folder: Path | None, prefix: str, suffix: str) -> Path:
    """A new file; nothing is left of it after an OSError."""
    file = NamedTemporaryFile(dir=folder, prefix=prefix, suffix=suffix, delete=False)  # noqa: SIM115
    try:
        with file as f:
            np.savez_compressed(f, **arrays)  # type: ignore[arg-type]
            f.flush()
            os.fsync(f.fileno())
    except OSError:
        Path(file.name).unlink(missing_ok=True)
        raise
    return Path(file.name)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        if Path(path).is_file() and not zipfile.is_zipfile(path):
            raise ValueError("no archive of arrays")
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: not an .npz file ({error})") from error


def save_float_weights(path: Path, weights: list[np.ndarray]) -> None:
    """Real weights: W1, W2, ... of shape (out, in) and b1, b2, ... of shape (out,)."""
    arrays = {}
    for i, w in enumerate(weights, start=1):
        arrays[f"W{i}"], arrays[f"b{i}"] = w[:, :-1], w[:, -1]
    write_npz(path, arrays, "--init")


def load_float_weights(path: Path, network: Network) -> list[np.ndarray]:
    """Inverse of `save_float_weights`; biases may be absent (0). Raises DataError."""
    arrays = _read_npz(path)
    weights = []
    for i, (rows, columns) in enumerate(network.shapes, start=1):
        w = arrays.get(f"W{i}")
        b = arrays.get(f"b{i}", np.zeros(rows))
        if w is None or w.shape != (rows, columns - 1) or b.shape != (rows,):
            found = {name: array.shape for name, array in arrays.items()}
            raise DataError(
                f"{path}: network {network} needs W{i} of shape {(rows, columns - 1)} and b{i} of "
                f"shape {(rows,)}; the file has {found}"
            )
        if not all(np.isrealobj(a) and np.issubdtype(a.dtype, np.number) for a in (w, b)):
            raise DataError(f"{path}: W{i} or b{i} does not hold real numbers")
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise DataError(f"{path}: W{i} or b{i} contains NaN or infinity")
        weights.append(np.concatenate([w, b[:, None]], axis=1).astype(np.float64))
    return weights
