"""The one way to log: a line to standard error, of time, level, name and message.

Nothing untrusted reaches a line raw: what is not printable is escaped, and a line is bounded. Logs are for the people
who run the gateway; what clients did is in the audit log.
"""

import logging
import sys
import time

_LINE = 2000


class _Formatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        moment = time.strftime(datefmt or "%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{moment}.{int(record.msecs):03d}Z"

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
        return clean if len(clean) <= _LINE else clean[:_LINE] + "…"


def configure(level: int = logging.INFO) -> None:
    """Send the log to standard error; quiet what other libraries say below a warning."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("penstock").setLevel(level)
