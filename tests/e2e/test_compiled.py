"""The compiled form does what the sources do: some of the tests of this folder, with a gateway that was compiled.

The whole folder is run against it by `COMPILED=build/compiled python -m pytest tests/e2e`, once `scripts/compile` has
made it.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "scripts" / "compiled.py"
FOLDER = ROOT / "build" / "tested"
"""Kept, and made again only when the sources have changed."""

CHOSEN = (
    "test_clients.py::test_chat",
    "test_clients.py::test_chat_streamed",
    "test_clients.py::test_transcription_with_the_model_in_the_form",
    "test_clients.py::test_the_right_exceptions",
    "test_failures.py::test_a_backend_that_dies_in_mid_stream[1-reset_stream]",
    "test_failures.py::test_a_client_that_leaves",
    "test_failures.py::test_all_throttled_gives_the_soonest_honest_wait",
    "test_hedging.py::test_the_faster_answer_is_the_clients_and_the_other_is_given_up",
    "test_hostile.py::test_a_chunked_request_body",
    "test_hostile.py::test_pipelined_requests_are_answered_in_order",
    "test_life.py::test_a_drain_finishes_what_streams",
    "test_life.py::test_reload[signal]",
    "test_stored_state.py::test_files_and_batches_with_the_official_client",
    "test_stored_state.py::test_responses_with_the_official_client",
)
_STRUCTS = """
import importlib, json, sys, msgspec
found = {}
for name in sys.argv[1:]:
    for value in vars(importlib.import_module(name)).values():
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == name:
            config = value.__struct_config__
            options = {key: getattr(config, key) for key in KEYS}
            found[f"{name}.{value.__name__}"] = [list(value.__struct_fields__), options]
print(json.dumps(found))
"""
_KEYS = ("frozen", "eq", "order", "array_like", "omit_defaults", "forbid_unknown_fields", "tag", "tag_field", "weakref")


def modules() -> list[str]:
    """What is compiled, by its names in Python."""
    text = SCRIPT.read_text().partition('COMPILED = """')[2].partition('"""')[0]
    return ["proxy." + name.replace("/", ".") for name in text.split()]


@pytest.fixture(scope="module")
def compiled() -> Path:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if "COMPILED" in os.environ:
        pytest.skip("this is the compiled form")
    if shutil.which(compiler) is None or not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        pytest.skip("no C compiler, or no headers of Python")
    made = subprocess.run([sys.executable, SCRIPT, FOLDER, "-O0"], capture_output=True, text=True, timeout=1800)
    assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-4000:]
    return FOLDER


@pytest.mark.parametrize("name", modules())
def test_what_is_decoded_is_not_compiled(name: str) -> None:
    """The types of a struct's fields are lost on a class of a compiled module: it encodes, and decodes nothing."""
    tree = ast.parse((ROOT / (name.replace(".", "/") + ".py")).read_text())
    own = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    decoders = [node for node in calls if getattr(node.func, "attr", "") in ("Decoder", "decode")]
    used = {part.id for call in decoders for part in ast.walk(call) if isinstance(part, ast.Name)}
    assert not own & used


def test_what_is_compiled_is_inherited_from_by_what_is_compiled_alone() -> None:
    """An interpreted class cannot: it is there, and none can be made of it."""
    for path in (ROOT / "proxy").rglob("*.py"):
        tree = ast.parse(path.read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module in modules()]
        compiled = {alias.asname or alias.name for node in imports for alias in node.names}
        bases = [base for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases]
        inherited = compiled & {base.id for base in bases if isinstance(base, ast.Name)}
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert not inherited or name in modules(), (name, inherited)


def test_structs_are_the_same(compiled: Path) -> None:
    """Options of a class statement are lost unless they are inherited."""
    code = _STRUCTS.replace("KEYS", repr(_KEYS))

    def structs(environment: dict[str, str]) -> object:
        command = [sys.executable, "-c", code, *modules()]
        return json.loads(subprocess.check_output(command, env=os.environ | environment, cwd=ROOT))

    assert structs({"PYTHONPATH": str(compiled), "PYTHONSAFEPATH": "1"}) == structs({})


def test_it_does_what_the_sources_do(compiled: Path) -> None:
    version = subprocess.check_output([compiled / "penstock", "--version"], text=True)
    assert version.endswith("(compiled)\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [f"tests/e2e/{name}" for name in CHOSEN]
    ran = subprocess.run(
        command, env=os.environ | {"COMPILED": str(compiled)}, cwd=ROOT, capture_output=True, text=True, timeout=1800
    )
    assert ran.returncode == 0, ran.stdout[-8000:]
