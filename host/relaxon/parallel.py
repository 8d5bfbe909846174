"""Work side by side through joblib: processes of this computer, or a cluster's."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib.util import find_spec
from threading import Thread
from typing import Any, TypeAlias

from relaxon_isa import ConfigError, ToolError, install

__all__ = ["Pool", "one_by_one", "open_pool"]

Work: TypeAlias = Iterable[tuple[Callable, tuple]]
Pool: TypeAlias = Callable[[Work], Iterator[Any]]
"""Takes functions with their arguments, gives results as they are done, in any order."""


def one_by_one(work: Work) -> Iterator[Any]:
    """The pool of this process alone."""
    return (function(*arguments) for function, arguments in work)


@contextmanager
def open_pool(jobs: int, backend: str = "loky") -> Iterator[Pool]:
    """A pool of ``jobs`` processes (-1: one a processor) of a joblib backend.

    ``dask`` sends work to the cluster whose scheduler the environment variable
    DASK_SCHEDULER_ADDRESS names, else to a cluster of its own on this computer. Raises ToolError
    where joblib, the backend or the scheduler is absent.
    """
    if not jobs:
        raise ConfigError("0 processes do nothing: 1 or more, or -1 for all processors")
    if jobs == 1 and backend == "loky":
        yield one_by_one
        return
    try:
        from joblib import Parallel, delayed, parallel_config
        from joblib.externals.loky import get_reusable_executor
    except ImportError as error:
        raise ToolError(f"several jobs at a time need joblib: {install('data')}") from error
    with _dask() if backend == "dask" else nullcontext():
        try:
            config = parallel_config(backend=backend, n_jobs=jobs)
        except (ImportError, ValueError) as error:
            raise ToolError(
                f"joblib has no backend {backend!r} (loky is the default): {error}"
            ) from error
        with config:

            def run(work: Work) -> Iterator[Any]:
                pool: Any = Parallel(return_as="generator_unordered")
                return pool(
                    delayed(_task)(os.getpid(), function, arguments) for function, arguments in work
                )

            try:
                yield run
            finally:  # else idle processes wait for more, with the environment of now
                if backend == "loky":
                    get_reusable_executor().shutdown(wait=True)


def _task(owner: int, function: Callable, arguments: tuple) -> Any:
    """What a pool runs, for the process ``owner``."""
    if os.getppid() == owner:
        _end_with(owner)
    return function(*arguments)


@cache
def _end_with(parent: int) -> None:
    """In a process that another one started: end when that has ended, even if it was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _dask():
    try:
        from dask.distributed import Client  # pyright: ignore[reportMissingImports] (optional)
    except ImportError as error:
        raise ToolError(f"the pool dask needs {error.name}: pip install distributed") from error
    try:
        client = Client(os.environ.get("DASK_SCHEDULER_ADDRESS"))
    except OSError as error:
        raise ToolError(
            f"no Dask scheduler answers at what DASK_SCHEDULER_ADDRESS names: {error}"
        ) from error
    # A worker that cannot import what it is sent would be waited for without end.
    found: Any = client.run(find_spec, "relaxon")
    if not found or None in found.values():
        lacking = ", ".join(name for name, spec in found.items() if spec is None)
        client.close()
        raise ToolError(
            f"Dask workers without relaxon, which has to be installed there: {lacking}"
            if lacking
            else "the Dask cluster has no workers"
        )
    address = client.scheduler.address  # type: ignore[union-attr]
    print(f"on the Dask cluster of {address}", file=sys.stderr)
    return client
