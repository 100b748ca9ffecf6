"""Where and when a run is made: what `Stored` says of this machine, this build, this call."""

import contextlib
import platform
import shlex
import ssl
import subprocess
import sys
import time
from pathlib import Path

from bench.report.stored import Machine

_ROOT = Path(__file__).parents[2]
_PATIENCE = 5.0  # s


def machine(cores: str) -> Machine:
    """This one. `cores` says in words who is bound to which."""
    return Machine(
        cpu=_processor(),
        cores=cores,
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        openssl=ssl.OPENSSL_VERSION,
    )


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def commit() -> str:
    """The commit that is checked out, marked where files differ from it; empty outside of a repository."""
    shown = _git("rev-parse", "--short=12", "HEAD")
    return f"{shown} and changes" if shown and _git("status", "--porcelain", "--untracked-files=no") else shown


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def now() -> str:
    """RFC 3339, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def command() -> str:
    """How this program was called, as it can be called again."""
    return shlex.join(["python", "-m", "bench", *sys.argv[1:]])
