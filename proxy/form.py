"""In which form this package runs: as it is written, or with its data plane compiled (`scripts/compile`)."""

from importlib.util import find_spec

from proxy import __version__


def is_compiled() -> bool:
    found = find_spec("proxy.exchange")
    return found is not None and not (found.origin or "").endswith(".py")


def version() -> str:
    """What runs: its number, and `(compiled)` where it is."""
    return f"{__version__} (compiled)" if is_compiled() else __version__
