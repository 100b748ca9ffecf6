"""`python -m bench`: the mock Azure, and Penstock measured beside other proxies."""

import argparse
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="The bench of Penstock.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    mock = commands.add_parser(
        "mock", help="run the mock Azure OpenAI", epilog="example: python -m bench mock --config mock.toml"
    )
    mock.add_argument("--config", type=Path, required=True, metavar="FILE", help="see bench.mock.config")
    mock.set_defaults(run=_mock)

    compare = commands.add_parser(
        "compare",
        help="measure Penstock beside other proxies",
        epilog="example: python -m bench compare --with nginx --what plain,events,handshake --repeat 3",
    )
    compare.add_argument("--with", dest="peers", default="nginx", help="proxies to compare with (default: nginx)")
    compare.add_argument("--what", default="plain,events,handshake,ttft,memory", help="phases, or all")
    compare.add_argument("--seconds", type=float, default=8.0, help="of each measurement (default: 8)")
    compare.add_argument("--repeat", type=int, default=3, help="how often each (default: 3)")
    compare.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    compare.set_defaults(run=_compare)

    faults = commands.add_parser(
        "faults", help="measure what happens when things break", epilog="example: python -m bench faults"
    )
    faults.set_defaults(run=_faults)
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return 130
    return code


def _mock(arguments: argparse.Namespace) -> int:
    from bench.mock.main import run

    return run(str(arguments.config))


def _compare(arguments: argparse.Namespace) -> int:
    from bench.compare.proxies import PROXIES, BenchError
    from bench.compare.run import PHASES, compare

    peers = [name for name in arguments.peers.split(",") if name]
    what = list(PHASES) if arguments.what == "all" else arguments.what.split(",")
    for given, known in ((peers, PROXIES), (what, PHASES)):
        for name in given:
            if name not in known:
                print(f"'{name}' is unknown; there are: {', '.join(known)}", file=sys.stderr)
                return 2
    try:
        return compare(peers, what, arguments.seconds, arguments.repeat, arguments.json)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1


def _faults(_: argparse.Namespace) -> int:
    from bench.compare.faults import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
