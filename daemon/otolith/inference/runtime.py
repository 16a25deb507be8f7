"""onnxruntime, opened the way a program that listens in people's homes must open it.

From 1.29 on, its Linux builds write a device id and look up hosts at the first session unless this variable stands
in the environment before the import; `disable_telemetry_events()` comes too late.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime


def open_session(content: bytes) -> onnxruntime.InferenceSession:
    """A session over a model's bytes: CPU, one thread (more cost CPU and spoil the 99th percentile)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def bound_call(session: Any, binding: Any) -> Callable[[], None]:
    """A call of `session.run_with_iobinding(binding)`, without what its wrapper asks first.

    That is 2.2 us of the 23 that a frame of a small model takes, and 33 with run options, which save another: there are
    no devices to wait for. Releases that keep their parts elsewhere get the wrapper.
    """
    try:
        run, bound = session._sess.run_with_iobinding, binding._iobinding
    except AttributeError:
        return partial(session.run_with_iobinding, binding)
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return partial(run, bound, options)


def version() -> str:
    """The runtime's version."""
    return str(onnxruntime.__version__)
