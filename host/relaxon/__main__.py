"""The command `relaxon`, also as `python -m relaxon`."""

import os
import sys

__all__ = ["main"]


def main() -> None:
    # Before numpy is imported. The golden model's products are small: on two cores, BLAS threads
    # halve its speed and take four times the processor time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from .cli import main as run
    except KeyboardInterrupt:  # half a second of imports
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
