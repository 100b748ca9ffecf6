"""The demo as a command; see `--help`."""

import argparse
import signal
import sys
from pathlib import Path

from bench.demo.asking import as_curl, ask, ask_in_vain, show_record
from bench.demo.failure import DemoFailed
from bench.demo.running import azure, configuration, gateway, new_place
from bench.demo.scenarios import SCENARIOS
from bench.mock.process import mock_process
from certs.pki import build


def main(argv: list[str] | None = None) -> int:
    """Run the demo; its exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Penstock in front of a mock Azure OpenAI, on this machine.",
        epilog="example: ./scripts/demo --once --scenario keys",
    )
    parser.add_argument("--once", action="store_true", help="end after the answer; the exit code tells how it went")
    parser.add_argument(
        "--scenario",
        choices=SCENARIOS,
        default="certificates",
        help="; ".join(f"{name}: {scenario.what}" for name, scenario in SCENARIOS.items()),
    )
    arguments = parser.parse_args(argv)
    try:
        _run(Path(".demo").resolve(), arguments.scenario, once=arguments.once)
    except DemoFailed as failed:
        print(f"the demo failed: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    return 0


def _run(folder: Path, name: str, *, once: bool) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    print(f"scenario {name}: {SCENARIOS[name].what}")
    pki = build(folder / "pki", authorities=True)
    place = new_place(folder / name)
    with mock_process(azure(pki)) as mock:
        print(f"mock Azure OpenAI: {', '.join(mock.urls.values())}")
        scenario = SCENARIOS[name](pki, mock)
        settings = scenario.settings()
        place.config.write_text(configuration(pki, mock, place, settings))
        print(f"configuration: {place.config}, in which this is the scenario's own:\n")
        print("".join(f"    {line}\n" for line in settings.splitlines()))
        scenario.prepare(place.config)
        audit = place.folder / "log" / "audit.jsonl"
        with gateway(place, mock):
            attempt = scenario.attempt()
            show_record(audit, ask(pki, place.port, attempt), decision="allowed")
            refused = scenario.refused()
            show_record(audit, ask_in_vain(pki, place.port, refused), decision="refused")
            token = (place.folder / "state" / "admin.token").read_text().strip()
            print(f"\nstatus page: http://127.0.0.1:{place.admin}/  (any user name; the password is {token})")
            print(f"\n{as_curl(pki, place.port, attempt)}")
            if not once:
                print("\nup until you press Ctrl-C", flush=True)
                signal.pause()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
