"""The process that a worker is, started by the supervisor with its ends of everything.

Apart from the worker, since Python begins with no module that is compiled.
"""

import argparse
import logging
import resource
import signal
import socket
from pathlib import Path

import trio

from proxy import logs
from proxy.channel import Channel
from proxy.record.journal import Journal
from proxy.wire.clock import PumpClock, drive
from proxy.wire.pump import Pump
from proxy.worker import Worker

_log = logging.getLogger("penstock.worker")


def main(argv: list[str] | None = None) -> None:
    """The worker's process, started by the supervisor with its ends of everything."""
    parser = argparse.ArgumentParser(prog="penstock worker")
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--journal", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logs.configure()
    raise_descriptor_limit()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the supervisor's to act on
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pump = Pump()
    clock = PumpClock(pump)
    trio.run(_run, arguments, pump, clock, clock=clock)


async def _run(arguments: argparse.Namespace, pump: Pump, clock: PumpClock) -> None:
    channel = Channel(socket.socket(fileno=arguments.channel))
    sockets = [socket.socket(fileno=int(fd)) for fd in arguments.listen.split(",")]
    worker = Worker(arguments.index, channel, sockets, Journal.open(arguments.journal), pump)
    if clock.attach():
        await worker.run()
        return
    _log.warning("trio's epoll cannot be told; relays are driven by a task, at some cost")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drive, pump)
        await worker.run()
        nursery.cancel_scope.cancel()


def raise_descriptor_limit() -> None:
    """Take all the descriptors the system allows: two a request."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
