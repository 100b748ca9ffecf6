"""`python -m certs --out DIR`: make the development PKI."""

import argparse
import sys
from pathlib import Path

from certs.pki import build


def main(argv: list[str] | None = None) -> int:
    """Make it, and say where it is; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m certs",
        description="Make the development PKI, or keep the one that is there while it is good for another week.",
        epilog="example: python -m certs --out certs/generated",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("certs/generated"), metavar="DIR", help="where to (default: certs/generated)"
    )
    parser.add_argument("--algorithm", choices=("ec", "rsa"), default="ec", help="of all keys (default: ec, P-256)")
    arguments = parser.parse_args(argv)
    try:
        print(build(arguments.out, arguments.algorithm).directory)
    except OSError as error:
        print(f"{error.filename or arguments.out} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
