"""Peers are installed without root into a cache folder, by the ordinary clients of package registries.

Each has a folder of its own there, named after what is in it. It counts as installed once it is whole: what was broken
off is made anew. Nothing outside the cache is changed, and no service is started.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from bench import lifeline
from bench.failure import BenchError
from bench.peers.peer import Progress

_WHOLE = ".whole"
_WITHIN = 900.0  # seconds, for one call of a registry's client
_ADMINISTRATORS = "/usr/local/sbin:/usr/sbin:/sbin"  # where servers are, and where PATH often does not lead


class Debian(msgspec.Struct, frozen=True):
    """A program of the distribution: the packages that have it and its libraries are unpacked, not installed."""

    program: str
    packages: tuple[str, ...]

    def find(self) -> Path | None:
        """The machine's own, or the cache's."""
        own = shutil.which(self.program) or shutil.which(self.program, path=_ADMINISTRATORS)
        if own is not None:
            return Path(own)
        unpacked = self._folder
        places = (unpacked / "usr" / "sbin" / self.program, unpacked / "usr" / "bin" / self.program)
        return next((path for path in places if is_whole(unpacked) and path.exists()), None)

    def path(self) -> Path:
        """Raises `BenchError` where there is none."""
        found = self.find()
        if found is None:
            raise missing(self.program)
        return found

    @property
    def environment(self) -> dict[str, str]:
        """What leads the program to the libraries that were unpacked with it."""
        folders = [str(path) for path in self._folder.glob("usr/lib/*-linux-gnu*")] if is_whole(self._folder) else []
        return {"LD_LIBRARY_PATH": ":".join(folders)} if folders else {}

    def install(self, progress: Progress) -> None:
        """Raises `BenchError`."""
        if self.find() is None:
            once(self._folder, self._unpack, progress)

    def says(self, *arguments: str) -> str:
        """What the program prints, on either stream, when it is called so."""
        return said([str(self.path()), *arguments], self.environment)

    @property
    def _folder(self) -> Path:
        return cache() / f"debian-{self.program}"

    def _unpack(self, folder: Path, progress: Progress) -> None:
        for client in ("apt-get", "dpkg"):
            if shutil.which(client) is None:
                raise BenchError(
                    f"{self.program} is not on PATH, and there is no {client} to get it with; "
                    f"install it by this system's own means"
                )
        progress(f"{self.program}: downloading {', '.join(self.packages)}")
        with tempfile.TemporaryDirectory(dir=folder) as downloaded:
            call(["apt-get", "download", *self.packages], Path(downloaded), "`apt-get update` may help")
            for package in sorted(Path(downloaded).glob("*.deb")):
                call(["dpkg", "-x", str(package), str(folder)], folder, "is there room on the disk?")


def cache() -> Path:
    """`$XDG_CACHE_HOME/penstock-bench`; `~/.cache/penstock-bench` where that is not set."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "penstock-bench"


def is_whole(folder: Path) -> bool:
    return (folder / _WHOLE).exists()


def missing(name: str) -> BenchError:
    """That a peer is not installed, and how to get it."""
    return BenchError(f"{name} is not installed; `python -m bench peers --install {name}` does that, without root")


def once(folder: Path, make: Callable[[Path, Progress], None], progress: Progress) -> None:
    """Make a folder of the cache, if it is not there and whole; one process at a time. Raises `BenchError`."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock")):
            if is_whole(folder):
                return
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder, progress)
            (folder / _WHOLE).touch()
    except OSError as error:
        raise BenchError(f"{folder}: cannot be made ({error}); XDG_CACHE_HOME names another place") from None


def python_packages(folder: Path, requirements: Sequence[str], progress: Progress) -> None:
    """A virtual environment with these, and what they need. Raises `BenchError`."""
    progress(f"{folder.name}: making a virtual environment")
    call([sys.executable, "-m", "venv", str(folder)], folder, "this needs Python's venv and ensurepip")
    progress(f"{folder.name}: downloading {', '.join(requirements)}")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    call([*pip, *requirements], folder, "is the package index reachable?")


def node_packages(folder: Path, manifest: str, progress: Progress) -> None:
    """What a `package.json` asks for; no package's own scripts are run. Raises `BenchError`."""
    if shutil.which("npm") is None:
        raise BenchError(f"{folder.name} needs Node.js (20 or later) and npm, which are not on PATH; install them")
    (folder / "package.json").write_text(manifest)
    progress(f"{folder.name}: downloading")
    call(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"], folder, "is the npm registry reachable?")


def call(command: Sequence[str], folder: Path, remedy: str) -> None:
    """Run a registry's client to its end, however that comes. Raises `BenchError`, with the end of what it said."""
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lifeline.tie,
    ) as client:
        try:
            output, _ = client.communicate(timeout=_WITHIN)
        except subprocess.TimeoutExpired:
            raise BenchError(f"`{' '.join(command)}` took more than {_WITHIN:g} s; {remedy}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(client.pid, signal.SIGKILL)
    if client.returncode:
        tail = output.decode(errors="replace").strip()[-1000:]
        raise BenchError(f"`{' '.join(command)}` failed; {remedy}\n{tail}")


def said(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """What a program prints, on either stream. Raises `BenchError` if it cannot be run."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | (environment or {}))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{command[0]} cannot be run: {error}") from None
    return (run.stdout + run.stderr).strip()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
