"""A measured value beside its bar."""

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """What was looked at, what was measured, what it is to be, and whether it is."""

    what: str
    measured: str
    bar: str
    holds: bool


def table(findings: list[Finding]) -> str:
    """Markdown, a row a finding."""
    rows = [f"| {f.what} | {f.measured} | {f.bar} | {'holds' if f.holds else '**missed**'} |" for f in findings]
    return "\n".join(["| what | measured | bar | |", "|---|---|---|---|", *rows])


def nothing_wrong(what: str, errors: dict[str, int], of: int) -> Finding:
    """No error may have been seen."""
    count = sum(errors.values())
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(errors.items()))
    return Finding(what, f"{count} of {of}" + (f" ({kinds})" if kinds else ""), "0", not count)
