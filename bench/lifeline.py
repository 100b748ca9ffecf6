"""A process that ends when the one that has started it does, however that comes to its end. Linux's `prctl`."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def tie() -> None:
    """Called in the child before it becomes another program: it gets SIGTERM when its parent's thread is gone."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
