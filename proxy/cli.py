"""The `penstock` command: one function a sub-command, each thin.

Exits 2 on wrong use, 1 on failure with one clear sentence on standard error, and shows no traceback for anything a
user can cause. Imports wait for the command that needs them.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from proxy.form import version

if TYPE_CHECKING:
    from proxy.config.structs import Config

_KEY = 4096
"""The longest key, in bytes."""


class Failure(Exception):
    """What the person at the keyboard can put right, in one sentence."""


def main(argv: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    try:
        arguments = _parsed(argv)
        code: int = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has left; the interpreter would complain of it once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"{where}{error.strerror or type(error).__name__}", file=sys.stderr)
        return 1
    return code


def _parsed(argv: list[str] | None) -> argparse.Namespace:
    parser = _parser()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        # Named without values: what stands where nothing belongs may be a key.
        options = [argument.partition("=")[0] for argument in unknown if argument.startswith("-")]
        parser.error(f"unknown option {options[0]}" if options else "one argument too many")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock",
        description="A streaming gateway in front of Azure OpenAI.",
        epilog="example: penstock serve --config penstock.toml",
    )
    parser.add_argument("--version", action="version", version=f"penstock {version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    serve = _command(commands, "serve", "run the gateway", "penstock serve --config penstock.toml")
    _takes_config(serve)
    serve.set_defaults(run=_serve)

    check = _command(commands, "check", "validate a configuration", "penstock check --config penstock.toml --online")
    _takes_config(check)
    check.add_argument("--online", action="store_true", help="also try every credential and backend")
    told = "also tell what would change for the gateway that runs with it, or with what it was"
    check.add_argument("--against-running", action="store_true", help=told)
    check.add_argument("--json", action="store_true", help="with --against-running: print what would change as JSON")
    _reaches_admin(check, None)
    check.set_defaults(run=_check, wrong=check.error)

    explain = _command(
        commands,
        "explain",
        "tell what becomes of a request",
        "penstock explain --config penstock.toml --key key.txt /openai/v1/models --method GET",
    )
    _takes_config(explain)
    explain.add_argument("target", metavar="TARGET", help="the request's target: path and query")
    explain.add_argument("--method", default="POST", metavar="NAME", help="the request's method (default: POST)")
    given = "the file that holds it, or - for standard input"
    explain.add_argument("--certificate", type=Path, metavar="FILE", help="the client certificate, PEM, the leaf first")
    explain.add_argument("--token", type=Path, metavar="FILE", help=f"the access token: {given}")
    explain.add_argument("--key", type=Path, metavar="FILE", help=f"the client's key: {given}")
    explain.add_argument("--body", type=Path, metavar="FILE", help=f"the request's JSON body: {given}")
    explain.add_argument("--online", action="store_true", help="fetch the keys of the token's issuer")
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(run=_explain)

    keys = _command(commands, "keys", "client keys", "penstock keys hash < key.txt").add_subparsers(
        metavar="ACTION", required=True
    )
    hashing = _command(
        keys, "hash", "print the form of a key that goes into key_hashes", 'printf %s "$KEY" | penstock keys hash'
    )
    hashing.add_argument("--file", type=Path, help="the file that holds the key (default: standard input)")
    hashing.set_defaults(run=_hash)

    _key_commands(keys)

    _backend_commands(commands)

    _config_commands(commands)

    audit = _command(commands, "audit", "the audit log", "penstock audit verify --config penstock.toml").add_subparsers(
        metavar="ACTION", required=True
    )
    verify = _command(
        audit, "verify", "prove that the audit log is whole", "penstock audit verify --config penstock.toml"
    )
    _takes_verify(verify)

    mock = _command(commands, "mock", "run the mock Azure OpenAI", "penstock mock --config mock.toml")
    _takes_config(mock)
    mock.set_defaults(run=_mock)
    return parser


def _key_commands(keys: "_Commands") -> None:
    """What changes or shows the keys of the store."""
    example = "penstock keys issue --config penstock.toml --client turbine-7 --expires 90d"
    issue = _command(keys, "issue", "issue a key to a client, and print it this once", example)
    example = "penstock keys rotate --config penstock.toml --client turbine-7 --old-expires 7d"
    rotate = _command(keys, "rotate", "issue a second key to a client, and print it this once", example)
    example = "penstock keys list --config penstock.toml --client turbine-7"
    listing = _command(keys, "list", "list the keys that were issued", example)
    example = "penstock keys revoke --config penstock.toml key-7f3a90c2e1d4"
    revoke = _command(keys, "revoke", "revoke a key, at once and for good", example)
    for action, command in (("issue", issue), ("rotate", rotate), ("listing", listing), ("revoke", revoke)):
        _takes_config(command)
        command.set_defaults(run=_keys, action=action)
    for command in (issue, rotate):
        command.add_argument("--client", required=True, metavar="NAME", help="the client, by its configured name")
        command.add_argument("--expires", type=_lifetime, metavar="AFTER", help='such as "90d" (default: never)')
        command.add_argument("--note", type=_note, default="", metavar="TEXT", help="a line that is listed with it")
    rotate.add_argument(
        "--old-expires",
        type=_lifetime,
        metavar="AFTER",
        help='when the first key ends, such as "7d" (default: as it is)',
    )
    listing.add_argument("--client", metavar="NAME", help="only this client's")
    listing.add_argument("--json", action="store_true", help="as JSON")
    revoke.add_argument("id", metavar="ID", help="the key's id, from the list")


def _backend_commands(commands: "_Commands") -> None:
    """The deployments of the gateway that runs, and what can be done to them."""
    example = "penstock backends --config penstock.toml"
    backends = _command(commands, "backends", "show the deployments of the running gateway, live", example)
    _reaches_gateway(backends, None)
    backends.add_argument("--once", action="store_true", help="print the table once, on a terminal too")
    backends.add_argument("--json", action="store_true", help="print JSON, once")
    backends.set_defaults(run=_backends, action="show", wrong=backends.error)
    actions = backends.add_subparsers(metavar="ACTION")

    def action(name: str, does: str, more: str = "", run: str | None = None) -> argparse.ArgumentParser:
        example = f"penstock backends {name} --config penstock.toml swc-std{more}"
        command = _command(actions, name, does, example)
        _reaches_gateway(command, argparse.SUPPRESS)
        command.set_defaults(action=run or name)
        command.add_argument("backend", metavar="NAME", help="the backend")
        if name != "weight":
            command.add_argument("--deployment", metavar="NAME", help="only this one (default: all of the backend's)")
        return command

    action("drain", "send nothing new to a backend", " --deployment gpt-4o")
    action("undrain", "send requests to a backend again")
    opened = action("open", "set a backend aside, as if its breaker had opened", " --for 10m", "open_breaker")
    opened.add_argument("--for", dest="lasting", type=_duration, metavar="TIME", help='such as "10m" (default: 5m)')
    action("close", "take a backend back at once, whatever its breaker found", run="close_breaker")
    weight = action("weight", "give a deployment another weight", " gpt-4o 3 --over 5m")
    weight.add_argument("deployment", metavar="DEPLOYMENT", help="the deployment")
    weight.add_argument("weight", type=_weight, metavar="WEIGHT", help='a number, 0 for nothing new, or "configured"')
    weight.add_argument("--over", type=_duration, metavar="TIME", help='how long it takes to get there, such as "5m"')


def _reaches_gateway(parser: argparse.ArgumentParser, default: object) -> None:
    """`default` SUPPRESS: what was given before the action stands."""
    parser.add_argument("--config", type=Path, metavar="FILE", default=default, help="the gateway's configuration")
    _reaches_admin(parser, default)


def _reaches_admin(parser: argparse.ArgumentParser, default: object) -> None:
    where = "where the admin address is reached, if not as configured"
    parser.add_argument("--address", metavar="HOST:PORT", default=default, help=where)
    tls = "for an admin address with TLS: "
    parser.add_argument("--certificate", type=Path, metavar="FILE", default=default, help=f"{tls}yours, in PEM")
    parser.add_argument("--key", type=Path, metavar="FILE", default=default, help=f"{tls}its key, if not in that file")
    parser.add_argument("--ca", type=Path, metavar="FILE", default=default, help=f"{tls}its authority's")


def _config_commands(commands: "_Commands") -> None:
    """The configuration of the gateway that runs: what it is and was, another one, and back."""
    example = "penstock config history --config penstock.toml"
    actions = _command(commands, "config", "the running gateway's configuration", example).add_subparsers(
        metavar="ACTION", required=True
    )
    for name, does, more in (
        ("show", "print what is in force, or was", " 7"),
        ("history", "list the versions that were in force", ""),
        ("apply", "have another file be in force, and written to the gateway's own", " candidate.toml"),
        ("rollback", "take up the version before the one in force again", " --to 7"),
    ):
        action = _command(actions, name, does, f"penstock config {name} --config penstock.toml{more}")
        _takes_config(action)
        _reaches_admin(action, None)
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=_config, action=name)
        if name == "show":
            action.add_argument("version", nargs="?", type=int, metavar="VERSION", help="one from the history")
        elif name == "apply":
            action.add_argument("candidate", type=Path, metavar="FILE", help="the candidate, a TOML file")
        elif name == "rollback":
            action.add_argument("--to", type=int, metavar="VERSION", help="one from the history (default: the last)")


def _duration(text: str) -> str:
    from proxy.config.units import parse_duration

    try:
        parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _weight(text: str) -> float | None:
    if text == "configured":
        return None
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= 1_000_000:
        raise argparse.ArgumentTypeError('a weight is a number from 0 to 1000000, or "configured"')
    return weight


def _lifetime(text: str) -> float:
    from proxy.supervisor.identity.issuing import lifetime

    try:
        return lifetime(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _note(text: str) -> str:
    from proxy.supervisor.identity.issuing import note

    try:
        return note(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _command(commands: _Commands, name: str, does: str, example: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}.", epilog=f"example: {example}"
    )


def _takes_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the configuration, a TOML file")


def _takes_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration, which says where all of it is")
    parser.add_argument("--log", type=Path, metavar="FILE", help="the audit log; rotated files are found beside it")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the file that holds its key")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="the file that holds its checkpoint")
    parser.add_argument("--from", type=int, default=1, dest="since", metavar="SEQ", help="judge nothing before this")
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON")
    parser.description = "Prove that the audit log is whole. Exits 0 if so, 1 if not, 2 if that cannot be told."
    parser.set_defaults(run=_verify, wrong=parser.error)


def _serve(arguments: argparse.Namespace) -> int:
    from proxy.supervisor.main import serve

    return serve(arguments.config)


def _load(path: Path) -> "Config":
    from proxy.config.load import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        raise Failure(str(error)) from None


def _check(arguments: argparse.Namespace) -> int:
    if arguments.json and (arguments.online or not arguments.against_running):
        arguments.wrong("--json goes with --against-running alone")
    config = _load(arguments.config)
    if not arguments.json:
        print(f"{arguments.config}: valid")
        for line in _summary(config):
            print(f"  {line}")
    code = 0
    if arguments.online:
        from proxy.commands.online import check

        code = check(config)
    return _config(arguments, "against_running") or code if arguments.against_running else code


def _explain(arguments: argparse.Namespace) -> int:
    import msgspec

    from proxy.commands.explain import CannotExplain, Given, explain, lines

    config = _load(arguments.config)
    given = Given(arguments.certificate, arguments.token, arguments.key, arguments.body, arguments.online)
    try:
        told = explain(config, arguments.method, arguments.target, given)
    except CannotExplain as error:
        raise Failure(str(error)) from None
    print(msgspec.json.format(msgspec.json.encode(told)).decode() if arguments.json else "\n".join(lines(told)))
    return 0


def _summary(config: "Config") -> list[str]:
    listen = config.listen
    addresses = (listen.address,) if isinstance(listen.address, str) else listen.address
    regions = len({backend.region for backend in config.backends})
    return [
        f"listens on {', '.join(addresses)}; client certificates: {listen.client_certificates.mode}",
        f"{_count(len(config.clients), 'client')}, {_count(len(config.models), 'model')}",
        f"{_count(len(config.backends), 'backend')} in {_count(regions, 'region')}, "
        f"{_count(len(config.credentials), 'credential')}",
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _hash(arguments: argparse.Namespace) -> int:
    import hashlib

    if arguments.file is not None:
        with open(arguments.file, "rb") as file:
            key = file.read(_KEY + 2)
    elif sys.stdin is None:
        raise Failure("there is no standard input: name the file with --file")
    else:
        key = sys.stdin.buffer.read(_KEY + 2)
    key = key.removesuffix(b"\n").removesuffix(b"\r")
    if not key or len(key) > _KEY or any(byte < 33 or byte > 126 for byte in key):
        raise Failure(f"a key is one line of at most {_KEY} visible ASCII characters, without spaces")
    print("sha256:" + hashlib.sha256(key).hexdigest())
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from proxy.commands.verification import WrongPlaces, places, verify

    try:
        found = places(arguments.config, arguments.log, arguments.key, arguments.checkpoint)
    except WrongPlaces as error:
        arguments.wrong(str(error))
    return verify(found, since=arguments.since, as_json=arguments.json)


def _keys(arguments: argparse.Namespace) -> int:
    from proxy.commands import keys as key_commands
    from proxy.config.load import ConfigError
    from proxy.supervisor.secret_file import SecretUnusable
    from proxy.supervisor.store.database import StoreError
    from proxy.supervisor.store.keys import KeyProblem

    if sys.stdout is None:
        raise Failure("there is no standard output to show anything on")
    run: Callable[[argparse.Namespace], int] = getattr(key_commands, arguments.action)
    try:
        return run(arguments)
    except (ConfigError, KeyProblem, SecretUnusable, StoreError) as error:
        raise Failure(str(error)) from None


def _backends(arguments: argparse.Namespace) -> int:
    from proxy.admin.client import CannotAsk
    from proxy.config.load import ConfigError

    if arguments.config is None:
        arguments.wrong("the following arguments are required: --config")
    if sys.stdout is None:
        raise Failure("there is no standard output to show anything on")
    from proxy.commands import backends as backend_commands

    run: Callable[[argparse.Namespace], int] = getattr(backend_commands, arguments.action)
    try:
        return run(arguments)
    except (ConfigError, CannotAsk) as error:
        raise Failure(str(error)) from None


def _config(arguments: argparse.Namespace, action: str | None = None) -> int:
    from proxy.admin.client import CannotAsk, NotDone
    from proxy.commands import configuration as config_commands
    from proxy.config.load import ConfigError

    if sys.stdout is None:
        raise Failure("there is no standard output to show anything on")
    run: Callable[[argparse.Namespace], int] = getattr(config_commands, action or arguments.action)
    try:
        return run(arguments)
    except NotDone as refused:
        raise Failure(config_commands.problems(refused)) from None
    except (ConfigError, CannotAsk) as error:
        raise Failure(str(error)) from None


def _mock(arguments: argparse.Namespace) -> int:
    from bench.mock.main import run

    return run(str(arguments.config))


if __name__ == "__main__":
    sys.exit(main())
