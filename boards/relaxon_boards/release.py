"""Bitstreams and their reports as a release's files: ``python -m relaxon_boards.release``.

Takes what `relaxon build` left in ``build/BOARD`` and makes ``dist/bitstreams``: for each board an
archive (.tar.gz) with bitstream and reports, whose bytes depend on those alone; and ``SHA256SUMS``.
Boards that are not built, or whose bitstream is not that of its report or of the present contract,
are told, and with ``--all`` are an error.
"""

import argparse
import gzip
import hashlib
import io
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

from relaxon_isa import DataError, RelaxonError
from relaxon_isa.identity import fingerprint

from .board import Board
from .build import bitstream_path
from .catalogue import BOARDS, find_board
from .report import Report, digest_of

__all__ = ["pack"]

README = """\
relaxon on {title} ({device}): {bitstream}

Load it with openFPGALoader {flash}{bitstream}
(or, with relaxon installed: relaxon flash {board} --directory FOLDER_OF_THIS_FILE)
Then: relaxon info --backend PORT@{baud}

Machine {preset}, fingerprint {fingerprint}, contract {contract}. report.txt says what it came to.
No bitstream has been run on hardware by the project.
"""


def pack(board: Board, build: Path, out: Path) -> Path:
    """The archive of one board's bitstream. Raises DataError if it is not built, not from the
    present contract, or not what its report describes."""
    bitstream, again = bitstream_path(board, build), f"relaxon build {board.name}"
    if not bitstream.is_file():
        raise DataError(f"{board.name}: no bitstream {bitstream}: {again}")
    report = Report.read(build / "report.json")
    if report.digest != digest_of(bitstream) or report.board != board.name:
        raise DataError(f"{board.name}: {bitstream} is not the one of its report: {again}")
    if report.fingerprint != fingerprint(board.config):
        raise DataError(
            f"{board.name}: built as {report.fingerprint}, the machine now is "
            f"{fingerprint(board.config)}: {again}"
        )
    text = README.format(
        title=board.title,
        device=board.device,
        bitstream=bitstream.name,
        flash="".join(f"{word} " for word in board.flash),
        board=board.name,
        baud=report.baud,
        preset=board.preset,
        fingerprint=report.fingerprint,
        contract=report.contract,
    )
    files = {"README.txt": text.encode()} | {
        path.name: path.read_bytes()
        for path in (bitstream, build / "report.json", build / "report.txt")
    }
    out.mkdir(parents=True, exist_ok=True)
    folder = f"relaxon-{board.name}-{report.fingerprint}"
    archive = out / f"{folder}.tar.gz"
    archive.write_bytes(_archive(folder, files))
    return archive


def _archive(folder: str, files: dict[str, bytes]) -> bytes:
    """A tar file whose bytes depend on the files' alone: no dates, no names of users."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def write_sums(archives: Iterable[Path], out: Path) -> None:
    """``SHA256SUMS``, for ``sha256sum -c``."""
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in archives]
    (out / "SHA256SUMS").write_text("".join(lines))


def main() -> None:
    """Pack the boards that are named, or all that are built."""
    parser = argparse.ArgumentParser(prog="python -m relaxon_boards.release", description=__doc__)
    parser.add_argument("boards", nargs="*", metavar="BOARD", help="default: all that are built")
    parser.add_argument("--build", type=Path, default=Path("build"), help="where builds are")
    parser.add_argument("--out", type=Path, default=Path("dist/bitstreams"))
    parser.add_argument("--all", action="store_true", help="a board that is left out is an error")
    arguments = parser.parse_args()
    archives, missing = [], []
    try:
        for name in arguments.boards or BOARDS:
            board = find_board(name)
            try:
                archives.append(pack(board, arguments.build / board.name, arguments.out))
                print(archives[-1])
            except DataError as error:
                if arguments.boards or arguments.all:
                    raise
                missing.append(str(error))
        for text in missing:
            print(f"left out: {text}", file=sys.stderr)
        if not archives:
            raise DataError("nothing to pack")
        write_sums(archives, arguments.out)
    except (RelaxonError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
