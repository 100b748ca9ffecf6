"""`python -m bench`: the mock Azure, load on it, and Penstock measured beside other proxies and under faults.

Exits 2 on wrong use, 1 on failure with one clear sentence, and shows no traceback for anything a user can cause.
Imports wait for the command that needs them.
"""

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from bench.failure import BenchError

if TYPE_CHECKING:
    _Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_PHASES = "plain, queued, events, handshake, latency, growth, memory, workers, ttft, soak1000"
_KINDS = "plain, streams, embeddings, handshakes"
_ARRIVALS = "closed, constant, poisson, ramp, step"
_FAULTS = "disconnects, slow, head, middle, killed"


def main(argv: list[str] | None = None) -> int:
    """Run a command; its exit code. SIGTERM ends it as an interrupt does, with all that it has started."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        code: int = arguments.run(arguments)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    return code


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="The bench of Penstock.",
        epilog="example: python -m bench compare --with nginx",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    mock = _command(commands, "mock", "run the mock Azure OpenAI", "python -m bench mock --config mock.toml")
    mock.add_argument("--config", type=Path, required=True, metavar="FILE", help="see bench.mock.config")
    mock.set_defaults(run=_mock)
    _add_load(commands)
    _add_compare(commands)
    _add_peers(commands)
    faults = _command(
        commands, "faults", "measure what happens when things break", "python -m bench faults --what disconnects,killed"
    )
    faults.add_argument("--what", type=_names, default=("all",), metavar="LIST", help=f"of {_FAULTS}; default: all")
    faults.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    faults.set_defaults(run=_faults)
    _add_scenarios(
        commands,
        "run",
        "play a scenario with its load and faults, show it live, and hold what was measured against its bars",
        "python -m bench run chat-400 soak --duration 60s --out report",
        None,
    )
    _add_scenarios(
        commands,
        "timelines",
        "play failures of backends on schedule under load, and hold what clients saw against bars",
        "python -m bench timelines region-dies everything-throttles --out report",
        "failures",
    )
    _add_report(commands)
    simulate = _command(
        commands,
        "simulate",
        "run the gateway's routing in virtual time, and look for laws that it breaks",
        "python -m bench simulate --seeds 1000",
    )
    simulate.add_argument("--seeds", type=_positive, default=200, metavar="N", help="how many (default: 200)")
    simulate.add_argument("--first", type=_count, default=0, metavar="SEED", help="the first of them (default: 0)")
    simulate.set_defaults(run=_simulate)
    _add_plan(commands)
    micro = _command(commands, "micro", "measure single steps of a request", "python -m bench micro")
    micro.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    micro.set_defaults(run=_micro)
    return parser


def _command(commands: "_Commands", name: str, does: str, example: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}.", epilog=f"example: {example}"
    )


def _add_load(commands: "_Commands") -> None:
    load = _command(
        commands,
        "load",
        "put load on an address that leads to the mock, compare every byte of its answers, print JSON",
        "python -m bench load --url https://localhost:8443 --root server-root.pem --certificate turbine-7.pem "
        "--key turbine-7.key --mode streams --connections 100 --tokens 200 --interval 25",
    )
    add = load.add_argument
    add("--url", required=True, help="https://HOST:PORT, or http://HOST:PORT")
    add("--root", type=Path, metavar="FILE", help="the root that vouches for the server")
    what = load.add_mutually_exclusive_group(required=True)
    what.add_argument("--mode", dest="mix", type=_mode, metavar="KIND", help=f"of {_KINDS}")
    what.add_argument("--mix", type=_mix, metavar="KIND=SHARE,…", help="of these, such as streams=70,plain=30")
    add("--certificate", type=Path, metavar="FILE", help="the client's certificate, with its chain")
    add("--key", type=Path, metavar="FILE", help="its key")
    add("--api-key", metavar="KEY", help="sent in the api-key header")
    add("--token", metavar="TOKEN", help="sent as bearer token")
    add("--identities", type=Path, metavar="FILE", help="many who ask, as TOML or JSON; see bench.load.roster")
    add("--model", default="gpt-4o", help="what is asked for (default: gpt-4o)")
    add("--connections", type=_positive, default=16, metavar="N", help="default: 16; with arrivals, at most so many")
    add("--rate", type=_amount, default=0.0, metavar="R", help="requests a second, whatever comes back (open loop)")
    add("--arrivals", choices=_ARRIVALS.split(", "), help="default: closed, or constant where there is a rate")
    add("--to", type=_amount, default=0.0, metavar="R", help="the rate at the end of a ramp, or after a step")
    add("--replay", type=Path, metavar="LOG", help="requests as an access log or the audit log has them")
    add("--speed", type=_amount, default=1.0, metavar="X", help="of the replay (default: 1)")
    add("--seconds", type=_amount, default=10.0, metavar="S", help="measured time (default: 10)")
    add("--ramp", type=_amount, default=1.0, metavar="S", help="time over which connections are opened (default: 1)")
    add("--prompt", type=_sizes, default=(228, 228), metavar="N[-M]", help="bytes of each prompt (default: 228)")
    add("--tokens", type=_sizes, default=(16, 16), metavar="N[-M]", help="of each answer (default: 16)")
    add("--interval", type=_amount, default=0.0, metavar="MS", help="the mock's time between tokens, for lateness")
    add("--leave-share", type=_share, default=0.0, metavar="SHARE", help="of streams, left in mid-stream")
    add("--leave-after", type=_positive, default=10, metavar="N", help="events after which they are (default: 10)")
    add("--slow-share", type=_share, default=0.0, metavar="SHARE", help="of requests, read slowly")
    add("--slow-rate", type=_rate, default=4000.0, metavar="B", help="bytes a second that these read (default: 4000)")
    add("--never-read", type=_count, default=0, metavar="N", help="further connections that ask and never read")
    add("--processes", type=_positive, default=1, metavar="N", help="that share the load (default: 1)")
    add("--seed", type=_count, default=0, metavar="N", help="the same one asks for the same (default: 0)")
    load.set_defaults(run=_load)


def _add_compare(commands: "_Commands") -> None:
    compare = _command(
        commands,
        "compare",
        "measure Penstock beside other proxies, and hold the ratios against bars",
        "python -m bench compare --with nginx,envoy --what plain,events,handshake --out report",
    )
    add = compare.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO", help="by name or file; see `run --list`; none: --what")
    add("--with", dest="peers", type=_names, default=("nginx",), metavar="LIST", help="see `peers`; default: nginx")
    add("--what", type=_names, metavar="LIST", help=f"of {_PHASES}; default: those with bars; all: all")
    add("--seconds", type=_rate, metavar="S", help="of each measurement (default: 6)")
    add("--soak-seconds", type=_rate, metavar="S", help="of soak1000 (default: 60)")
    add("--repeat", type=_positive, metavar="K", help="how often each (default: 3; memory, soak1000: once)")
    add(
        "--events-per-second",
        type=_rate,
        metavar="R",
        help="of all streams in growth, fewer where the mock's core is full (default: 16000)",
    )
    add(
        "--quick",
        action="store_true",
        help="once, for two seconds each: to see that it works and about where it stands",
    )
    where = compare.add_mutually_exclusive_group()
    where.add_argument("--json", type=Path, metavar="FILE", help="store everything that was measured in it")
    where.add_argument("--out", type=Path, metavar="FOLDER", help="the same as run.json in it, and the tables")
    compare.set_defaults(run=_compare)


def _add_peers(commands: "_Commands") -> None:
    peers = _command(
        commands,
        "peers",
        "list the proxies to compare with and what each lacks, install them without root, try them",
        "python -m bench peers --install haproxy,envoy,litellm --try haproxy,envoy",
    )
    add = peers.add_argument
    add("--install", type=_names, default=(), metavar="LIST", help="peers to install into the cache, or all")
    add("--try", dest="trial", type=_names, default=(), metavar="LIST", help="peers to ask before a mock, or all")
    add("--streams", type=_positive, default=4, metavar="N", help="of each that is tried (default: 4)")
    peers.set_defaults(run=_peers)


def _add_scenarios(commands: "_Commands", name: str, does: str, example: str, family: str | None) -> None:
    scenarios = _command(commands, name, does, example)
    add = scenarios.add_argument
    which = "default: all" if family else "one at least"
    add("names", nargs="*", metavar="NAME", help=f"of those listed, or a file that ends in .toml; {which}")
    add("--list", action="store_true", help="say which there are")
    add("--out", type=Path, metavar="FOLDER", help="write the verdicts and every figure there")
    add("--duration", type=_duration, metavar="TIME", help="in place of the scenario's own, such as 60s or 5m")
    add("--workers", type=_positive, metavar="N", help="the gateway's, in place of the scenario's own number")
    add("--json", action="store_true", help="print every figure as JSON instead of the verdicts")
    scenarios.set_defaults(run=lambda arguments: _scenarios(arguments, scenarios, family))


def _add_report(commands: "_Commands") -> None:
    report = _command(
        commands,
        "report",
        "lay stored runs together as Markdown and, in a folder, as a page with charts",
        "python -m bench report now.json --against before.json --out report --fail-if-slower",
    )
    add = report.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN.json", help="what `run` and `compare` have stored")
    add("--against", action="append", type=Path, default=[], metavar="EARLIER.json", help="say what has changed since")
    add("--out", type=Path, metavar="FOLDER", help="write report.html and report.md there instead of printing")
    add("--fail-if-slower", action="store_true", help="exit 1 if something got worse than --against, beyond noise")
    report.set_defaults(run=_report)


def _add_plan(commands: "_Commands") -> None:
    plan = _command(
        commands,
        "plan",
        "find how many provisioned units are the cheapest that hold a service, over months",
        "python -m bench plan office-chat --out plan",
    )
    add = plan.add_argument
    add("name", nargs="?", metavar="PLAN", help="an example's name, or a file that ends in .toml")
    add("--months", type=_positive, metavar="N", help="how many, instead of the file's")
    add("--out", type=Path, metavar="FOLDER", help="write a page with charts, Markdown and every figure there")
    add("--list", action="store_true", help="say which examples there are")
    add("--example", metavar="NAME", help="print an example, to begin with")
    plan.set_defaults(run=_plan)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _amount(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and a million")
    return value


def _rate(text: str) -> float:
    value = _amount(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _duration(text: str) -> float:
    from proxy.config.units import parse_duration

    try:
        value = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 1 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not between a second and a day")
    return value


def _mode(text: str) -> tuple[tuple[str, float], ...]:
    if text not in _KINDS.split(", "):
        raise argparse.ArgumentTypeError(f"'{text}' is unknown; there are: {_KINDS}")
    return ((text, 1.0),)


def _mix(text: str) -> tuple[tuple[str, float], ...]:
    pairs = [part.partition("=") for part in text.split(",")]
    return tuple((_mode(name)[0][0], _amount(share)) for name, _, share in pairs)


def _sizes(text: str) -> tuple[int, int]:
    """`16`, or `10-200`."""
    least, _, most = text.partition("-")
    sizes = _positive(least), _positive(most or least)
    if sizes[0] > sizes[1]:
        raise argparse.ArgumentTypeError(f"{text} is no range; the lesser comes first")
    return sizes


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _mock(arguments: argparse.Namespace) -> int:
    from bench.mock.main import run

    return run(str(arguments.config))


def _load(arguments: argparse.Namespace) -> int:
    from bench.load.command import Options, run

    given = {name: value for name, value in vars(arguments).items() if name != "run"}
    return run(Options(**given | {"interval": arguments.interval / 1000}))


def _compare(arguments: argparse.Namespace) -> int:
    import msgspec

    from bench.compare.phases import DEFAULT, KNOWN, QUICK, Sizes
    from bench.compare.run import Options, compare
    from bench.peers.known import PEERS

    given = {
        name: value
        for name in ("seconds", "soak_seconds", "events_per_second")
        if (value := getattr(arguments, name)) is not None
    }
    return compare(
        Options(
            peers=_known(arguments.peers, tuple(name for name in PEERS if name != "penstock")),
            what=_known(arguments.what, KNOWN) if arguments.what else () if arguments.scenarios else DEFAULT,
            scenarios=tuple(arguments.scenarios),
            sizes=msgspec.structs.replace(QUICK if arguments.quick else Sizes(), **given),
            repeat=arguments.repeat or (1 if arguments.quick else 3),
            lasting=arguments.seconds,
            output=arguments.json,
            folder=arguments.out,
        )
    )


def _peers(arguments: argparse.Namespace) -> int:
    from bench.peers.command import Options, run
    from bench.peers.known import PEERS

    known = tuple(PEERS)
    return run(
        Options(
            install=_known(arguments.install, known),
            trial=_known(arguments.trial, known),
            streams=arguments.streams,
        )
    )


def _faults(arguments: argparse.Namespace) -> int:
    from bench.faults.run import FAULTS, run

    return run(_known(arguments.what, tuple(FAULTS)), arguments.json)


def _scenarios(arguments: argparse.Namespace, parser: argparse.ArgumentParser, family: str | None) -> int:
    from bench.scenarios.run import Options, listing, run
    from bench.scenarios.scenario import known

    if arguments.list:
        print(listing(family))
        return 0
    names = tuple(arguments.names) or tuple(known(family) if family else ())
    if not names:
        parser.error("name a scenario, or ask for the --list")
    return run(
        Options(
            names=names,
            output=arguments.out,
            duration=arguments.duration,
            workers=arguments.workers,
            as_json=arguments.json,
        )
    )


def _report(arguments: argparse.Namespace) -> int:
    from bench.report.run import Options, report

    if arguments.fail_if_slower and not arguments.against:
        print("--fail-if-slower needs --against: slower than what?", file=sys.stderr)
        return 2
    return report(
        Options(
            runs=tuple(arguments.runs),
            against=tuple(arguments.against),
            folder=arguments.out,
            fail_if_slower=arguments.fail_if_slower,
        )
    )


def _simulate(arguments: argparse.Namespace) -> int:
    from bench.simulate.run import run

    return run(arguments.seeds, arguments.first)


def _plan(arguments: argparse.Namespace) -> int:
    from bench.plan.run import Options, example, listing, run

    if arguments.list or arguments.example is not None:
        print(listing() if arguments.list else example(arguments.example), end="\n" if arguments.list else "")
        return 0
    if arguments.name is None:
        print("name a plan: a file that ends in .toml, or an example (see --list)", file=sys.stderr)
        return 2
    return run(Options(name=arguments.name, months=arguments.months, output=arguments.out))


def _micro(arguments: argparse.Namespace) -> int:
    from bench.micro import run

    return run(arguments.json)


def _known(names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """The names, if all are known; `all` is all of them."""
    for name in names:
        if name not in known and name != "all":
            print(f"'{name}' is unknown; there are: {', '.join(known)}", file=sys.stderr)
            raise SystemExit(2)
    return known if "all" in names else names


if __name__ == "__main__":
    sys.exit(main())
