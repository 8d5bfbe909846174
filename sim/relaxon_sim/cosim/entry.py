"""What the simulator imports: the tests of the bench's file, wherever it lies."""

import importlib.util
import os
import sys

_path = os.environ["RELAXON_BENCH"]
_spec = importlib.util.spec_from_file_location("relaxon_bench", _path)
assert _spec and _spec.loader, _path
_module = importlib.util.module_from_spec(_spec)
sys.modules["relaxon_bench"] = _module
_spec.loader.exec_module(_module)
# cocotb takes the tests it finds in this module's namespace.
globals().update(vars(_module))
