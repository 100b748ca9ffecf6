"""The gateway with its data plane compiled by mypyc: an importable copy in a folder of its own.

    compiled.py [FOLDER] [-O LEVEL]    the package proxy, and `penstock`, which runs it; by default in build/compiled

The sources are those that run without it, and stay as they are: what is compiled never lies beside them. A folder that
was made from the same sources is left as it is.
"""

import argparse
import hashlib
import os
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from mypyc.build import mypycify
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.parent
COMPILED = """
    answer exchange forwarding trace translation upstream view worker
    identity/authenticate identity/remembered identity/standing
    metering/estimate metering/event metering/meter
    policy/grants policy/lease policy/operations policy/request policy/rule policy/window
    record/journal record/tally
    routing/affinity routing/balance routing/breaker routing/breakers routing/deadline routing/eligible
    routing/failure_rate routing/hints routing/load routing/ranking routing/reach routing/retry_budget routing/select
    routing/sliding routing/wanted
    stored_exchange/content stored_exchange/direct stored_exchange/kept stored_exchange/listing stored_exchange/single
    wire/body wire/chunks wire/clock wire/http1 wire/link wire/pool wire/pump wire/relay wire/server
"""
"""A worker's way through a request. Modules of plain data have nothing to compile."""

_LAUNCHER = """#!/bin/sh
PYTHONSAFEPATH=1 PYTHONPATH='{folder}' exec '{python}' -m proxy "$@"
"""


class BuildExtensions(build_ext):
    """Each source file for itself, as many at a time as there are processors, and only what has changed."""

    def build_extension(self, ext: Extension) -> None:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            ext.extra_objects = list(threads.map(lambda source: self._object(ext, source), ext.sources))
        ext.sources = []
        super().build_extension(ext)

    def _object(self, ext: Extension, source: str) -> str:
        (made,) = self.compiler.object_filenames([source], output_dir=self.build_temp)
        newest = max(os.stat(path).st_mtime for path in (source, *ext.depends))
        if not os.path.exists(made) or os.stat(made).st_mtime <= newest:
            self.compiler.compile(
                [source],
                output_dir=self.build_temp,
                include_dirs=ext.include_dirs,
                macros=ext.define_macros,
                extra_postargs=ext.extra_compile_args,
                depends=ext.depends,
            )
        return str(made)


def main() -> None:
    """Build the folder. Exits with 1 and mypyc's or the compiler's words, where it cannot be."""
    parser = argparse.ArgumentParser(prog="compile", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", default=ROOT / "build" / "compiled")
    parser.add_argument("-O", dest="level", default="2", choices="0123", help="how far the C compiler optimizes")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    os.chdir(ROOT)
    made_from = _digest(arguments.level)
    note = folder / "made-from"
    if note.exists() and note.read_text() == made_from:
        return
    if folder.exists() and not note.exists():
        sys.exit(f"{folder} is there and was not made by this: name another")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text("")
    work = folder / "work"
    extensions = _extensions(work, arguments.level)
    shutil.rmtree(folder / "proxy", ignore_errors=True)
    shutil.copytree("proxy", folder / "proxy", ignore=shutil.ignore_patterns("__pycache__"))
    for stale in folder.glob("*.so"):
        stale.unlink()
    command = BuildExtensions(Distribution({"name": "penstock", "ext_modules": extensions}))
    command.build_lib, command.build_temp, command.force = str(folder), str(work / f"O{arguments.level}"), True
    command.ensure_finalized()
    command.run()
    launcher = folder / "penstock"
    launcher.write_text(_LAUNCHER.format(folder=folder, python=sys.executable))
    launcher.chmod(0o755)
    note.write_text(made_from)


def _extensions(work: Path, level: str) -> list[Extension]:
    """The C of all modules, in `work`: one library, so that calls from one module to another need no look-up."""
    paths = [f"proxy/{name}.py" for name in COMPILED.split()]
    options = [f"--cache-dir={work}/types", "--config-file=pyproject.toml"]
    extensions: list[Extension] = mypycify(
        [*options, *paths], opt_level=level, multi_file=True, target_dir=str(work), group_name="penstock"
    )
    for extension in extensions:  # a call from one file to another is then a plain one
        extension.extra_compile_args.append("-fvisibility=hidden")
    return extensions


def _digest(level: str) -> str:
    """Of all that a build depends on."""
    digest = hashlib.sha256(f"{sys.version} {sysconfig.get_platform()} {version('mypy')} {level}".encode())
    for path in (Path(__file__), *sorted(path for path in Path("proxy").rglob("*") if path.suffix != ".pyc")):
        if path.is_file():
            digest.update(b"%b\0%b\0" % (str(path).encode(), path.read_bytes()))
    return digest.hexdigest()


if __name__ == "__main__":
    main()
