"""`python -m bench plan`: Markdown on standard output, how it goes on standard error, files where they are wanted."""

import sys
import time
from pathlib import Path

import msgspec

from bench.failure import BenchError
from bench.plan.files import known, load, problems
from bench.plan.page import markdown, page
from bench.plan.plan import Planned, planned


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`months` replaces the file's; `output` is a folder."""

    name: str
    months: int | None = None
    output: Path | None = None


def listing() -> str:
    """The examples, a line each."""
    plans = {name: load(name) for name in known()}
    width = max(map(len, plans), default=0)
    return "\n".join(f"{name:{width}}  {plan.title}" for name, plan in plans.items())


def example(name: str) -> str:
    """The text of one, to begin with. Raises `BenchError`."""
    path = known().get(name)
    if path is None:
        raise BenchError(f"'{name}' is unknown; there are: {', '.join(known())}")
    return path.read_text(encoding="utf-8")


def run(options: Options) -> int:
    """Plan, and say what came of it. 1 if no number of units holds the service. Raises `BenchError`."""
    plan = load(options.name)
    if options.months is not None:
        plan = msgspec.structs.replace(plan, months=options.months)
        for problem in problems(plan):
            raise BenchError(f"--{problem.key}: {problem.found}; {problem.remedy}")
    began = time.monotonic()
    found = planned(plan, lambda line: print(line, file=sys.stderr, flush=True))
    took = time.monotonic() - began
    about = f"{plan.months} months planned in {took:.0f} s, by python -m bench plan {options.name}"
    print(f"{about}", file=sys.stderr)
    print(markdown(found), end="")
    if options.output is not None:
        _write(options.output, found, about)
    return 0 if found.chosen.holds else 1


def _write(folder: Path, found: Planned, about: str) -> None:
    texts = {
        "plan.html": page(found, about),
        "plan.md": markdown(found),
        "plan.json": msgspec.json.format(msgspec.json.encode(_told(found), enc_hook=float), indent=2).decode() + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchError(f"{folder}: cannot be written ({error.strerror}); name a folder that can") from None
    print(f"written: {', '.join(str(folder / name) for name in texts)}", file=sys.stderr)


def _told(found: Planned) -> dict[str, object]:
    """Every figure, without the sizes that were drawn from."""
    return {
        "plan": found.plan,
        "notes": found.demand.notes,
        "chosen": found.chosen,
        "looked_at": found.looked_at,
        "week": found.week,
        "monthly": found.monthly,
        "checked": found.checked,
        "deviation": found.deviation,
        "simulated": {"requests": found.simulated, "stretches": found.stretches},
    }
