"""Checkpoints: everything a run needs to go on and end with the same bits; and float exports."""

import json
import os
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import numpy as np

from relaxon_isa import CONTRACT_VERSION, ConfigError, DataError, Register, ToolError, install

from . import checks, files
from .network import Network
from .torch_order import from_torch, named, paired, to_torch

__all__ = [
    "RECORD",
    "REPORT",
    "WEIGHTS",
    "Checkpoint",
    "kind_of",
    "load_float_weights",
    "save_float_weights",
    "write_npz",
]

FORMAT = "relaxon checkpoint"
RECORD = "relaxon run"
WEIGHTS = "relaxon weights"
REPORT = "relaxon report of a board"
NOT_EVERYWHERE = (Register.WRONG, Register.MEMORY)
"""Registers that some machines lack."""
META = {"format", "contract", "fingerprint", "network", "registers", "epoch", "spec", "history"}
"""What a checkpoint says besides its weights."""


@dataclass
class Checkpoint:
    """A training run after a number of whole epochs.

    ``weights``: integer matrices (`Layout.shapes`). ``registers``: all of `Register`, keys and
    counters, by name. ``spec``: what the run was asked for (JSON values). ``history``: one entry
    an epoch.
    """

    network: Network
    fingerprint: str
    weights: list[np.ndarray]
    registers: dict[str, int]
    epoch: int
    spec: dict
    history: list[dict] = field(default_factory=list)
    contract: int = CONTRACT_VERSION

    def save(self, path: Path) -> None:
        """Write it whole or not at all; what was there before stays until then."""
        meta = {
            "format": FORMAT,
            "contract": self.contract,
            "fingerprint": self.fingerprint,
            "network": str(self.network),
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
        meta = _meta(path, arrays.pop("meta", np.array("")), FORMAT)
        names = {f"weights_{i}" for i in range(1, len(arrays) + 1)}
        registers = meta.get("registers")
        unknown = {*meta} - META | {*arrays} - names
        unknown |= {*(registers if isinstance(registers, dict) else ())} - {
            r.name for r in Register
        }
        if unknown:
            raise DataError(
                f"{path}: holds {', '.join(sorted(unknown))}, which is not known here: damaged, or "
                "written by another version of relaxon"
            )
        try:
            network = Network.parse(meta["network"])
            weights = [arrays[f"weights_{i}"] for i in range(1, len(arrays) + 1)]
            saved = cls(
                network=network,
                fingerprint=str(meta["fingerprint"]),
                weights=weights,
                registers={
                    r.name: int(meta["registers"][r.name])
                    for r in Register
                    if r not in NOT_EVERYWHERE or r.name in meta["registers"]
                },
                epoch=int(meta["epoch"]),
                spec=meta["spec"],
                history=list(meta["history"]),
                contract=meta["contract"],
            )
            if saved.epoch < 0 or not isinstance(saved.spec, dict):
                raise ValueError("epoch or spec")
            checks.history(saved.history)
        except (KeyError, ValueError, TypeError, OverflowError, ConfigError) as error:
            raise DataError(
                f"{path}: a damaged checkpoint ({type(error).__name__}: {error})"
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
    written = path.with_name(f"{path.name}.part")  # what a killed run left of it is overwritten
    try:
        _write(arrays, written)
        written.replace(path)
    except OSError as error:
        kept = "; the file that was there before is kept" if path.exists() else ""
        with suppress(OSError):
            if not written.exists():
                handle, name = mkstemp(prefix=f"{path.stem}-", suffix=".npz")
                os.close(handle)
                written = Path(name)
                _write(arrays, written)
            kept += f"; what it was to hold is in {written}, for {option}"
        raise DataError(f"{path}: cannot be written ({error.strerror or error}){kept}") from error


def _write(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Write a file to the disk; nothing is left of it after an OSError."""
    try:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        if Path(path).exists() and not (Path(path).is_file() and zipfile.is_zipfile(path)):
            raise ValueError("no archive of arrays")
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # whatever numpy makes of damaged bytes
        raise DataError(f"{path}: not an .npz file ({error})") from error


def save_float_weights(path: Path, weights: list[np.ndarray], about: dict | None = None) -> None:
    """Real weights: W1, W2, ... of shape (out, in) and b1, b2, ... of shape (out,). A file that is
    called ``.safetensors`` has them in PyTorch's order (`relaxon.torch_order`), as
    ``layers.0.weight``, ``layers.0.bias``, ...

    ``about``: what they are weights of (`relaxon.runs.spec_of`), kept beside them as JSON.
    """
    if path.suffix == SAFETENSORS:
        return _save_safetensors(path, weights, about or {})
    arrays = {}
    for i, w in enumerate(weights, start=1):
        arrays[f"W{i}"], arrays[f"b{i}"] = w[:, :-1], w[:, -1]
    meta = {"format": WEIGHTS, "contract": CONTRACT_VERSION, "spec": about or {}}
    write_npz(path, {"meta": np.array(json.dumps(meta)), **arrays}, "--init")


def load_float_weights(path: Path, network: Network | None = None) -> tuple[list[np.ndarray], dict]:
    """Inverse of `save_float_weights`: matrices with the bias last, and what they are weights of.

    Files of others have no ``about`` ({}), and biases may be absent (0); ``network`` says what
    others' ``.safetensors`` files are of. Raises DataError for an array that is none of these.
    """
    if path.suffix == SAFETENSORS:
        return _load_safetensors(path, network)
    arrays = _read_npz(path)
    meta = _meta(path, arrays.pop("meta"), WEIGHTS) if "meta" in arrays else {}
    weights = []
    while (w := arrays.pop(f"W{len(weights) + 1}", None)) is not None:
        n = len(weights) + 1
        if w.ndim != 2:
            raise DataError(f"{path}: W{n} has shape {w.shape}, wanted is (out, in)")
        b = arrays.pop(f"b{n}", np.zeros(len(w)))
        w, b = checks.reals(f"{path}: W{n}", w), checks.reals(f"{path}: b{n}", b, (len(w),))
        weights.append(np.concatenate([w, b[:, None]], axis=1))
    if arrays or not weights:
        raise DataError(
            f"{path}: {', '.join(sorted(arrays)) or 'nothing'} is no weight of a network: wanted "
            f"are W1, W2, ... of shape (out, in) and b1, b2, ... of shape (out,); found so far "
            f"{len(weights)} of them"
        )
    return weights, meta.get("spec", {})


SAFETENSORS = ".safetensors"


def _safetensors() -> Any:
    try:
        return import_module("safetensors.numpy")
    except ImportError as error:
        raise ToolError(f"{SAFETENSORS} files need safetensors: {install('torch')}") from error


def _save_safetensors(path: Path, weights: list[np.ndarray], about: dict) -> None:
    if "network" not in about:
        raise DataError(f"{path}: PyTorch's order needs to know the network: about['network']")
    network = Network.parse(about["network"])
    if len(weights) > network.depth:
        raise DataError(
            f"{path}: this architecture has weights that no layer of PyTorch has: export .npz"
        )
    tensors = {}
    for name, w in named(to_torch(network, weights)).items():
        short = w.astype(np.float32)  # which all formats of up to 24 bits fit
        tensors[name] = np.ascontiguousarray(short if np.array_equal(short, w) else w)
    meta = {"format": WEIGHTS, "contract": CONTRACT_VERSION, "spec": about}
    files.write(path, _safetensors().save(tensors, {"relaxon": json.dumps(meta)}))


def _load_safetensors(path: Path, network: Network | None) -> tuple[list[np.ndarray], dict]:
    numpy = _safetensors()
    try:
        arrays = numpy.load(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # its own errors; types that numpy lacks
        raise DataError(
            f"{path}: not a {SAFETENSORS} file of numbers ({type(error).__name__}: {error})"
        ) from error
    about: dict = {}
    if text := _safetensors_meta(path):
        about = _meta(path, np.array(text), WEIGHTS).get("spec", {})
        network = Network.parse(about["network"])
    if network is None:
        raise DataError(f"{path}: does not say of which network it is: --layers does")
    reals = {name: checks.reals(f"{path}: {name}", w) for name, w in arrays.items()}
    try:
        return from_torch(network, paired(str(path), reals, in_order=False)), about
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _safetensors_meta(path: Path) -> str:
    """What relaxon wrote beside tensors: a file begins with the size of a header in JSON."""
    with Path(path).open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MOST_HEADER:
            return ""
        header = json.loads(file.read(size))
    return header.get("__metadata__", {}).get("relaxon", "")


MOST_HEADER = 100_000_000
"""The format's own limit."""


PAGE = '<meta name="generator" content="relaxon '
"""In the head of a page of `relaxon report`."""


def kind_of(path: Path) -> str | None:
    """What a file that relaxon wrote calls itself, `FORMAT`, `WEIGHTS`, `RECORD`, `REPORT` or
    `PAGE`; None for any other."""
    with suppress(OSError):
        if not path.is_file():  # a device would be read without end
            return None
    for text in (
        lambda: str(_read_npz(path)["meta"]),
        lambda: Path(path).read_text(),
        lambda: _safetensors_meta(path),
    ):
        with suppress(
            DataError, AttributeError, OSError, KeyError, ValueError, TypeError, RecursionError
        ):
            if (found := json.loads(text())["format"]) in (FORMAT, WEIGHTS, RECORD, REPORT):
                return found
    with suppress(OSError, ValueError), Path(path).open() as file:
        if PAGE in file.read(1000):
            return PAGE
    return None


def _meta(path: Path, text: np.ndarray, wanted: str) -> dict:
    try:
        meta = json.loads(str(text))
        if meta["format"] == wanted:
            return meta
    except (KeyError, ValueError, TypeError):
        pass
    raise DataError(
        f"{path}: not a file of {wanted} (checkpoints go to --resume, weights written by --export "
        "to --init; 'infer' takes both)"
    )
