"""`python -m certs --out DIR`: make the development PKI."""

import argparse
from pathlib import Path

from certs.pki import build

parser = argparse.ArgumentParser(
    prog="python -m certs",
    description="Make the development PKI.",
    epilog="example: python -m certs --out certs/generated",
)
parser.add_argument("--out", type=Path, default=Path("certs/generated"), help="where to (default: certs/generated)")
print(build(parser.parse_args().out).directory)
