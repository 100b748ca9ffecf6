"""`python -m bench peers`: which proxies there are to compare with, installed or not; installs them, and tries them."""

import sys

import msgspec

from bench.failure import BenchError
from bench.load.command import raise_descriptor_limit
from bench.peers.known import PEERS
from bench.peers.peer import Peer
from bench.peers.trial import trial


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Names of peers: those to install, and those to try, each with so many streams."""

    install: tuple[str, ...] = ()
    trial: tuple[str, ...] = ()
    streams: int = 4


def run(options: Options) -> int:
    """Install what is asked for, list all, try what is asked for; 1 if anything of it failed."""
    failed = [name for name in options.install if not _installed(PEERS[name])]
    if not options.trial:
        print("\n".join(map(described, PEERS.values())))
    raise_descriptor_limit()
    for name in options.trial:
        try:
            tried = trial(PEERS[name], options.streams)
        except BenchError as error:
            print(f"{name}: {error}", flush=True)
            failed.append(name)
            continue
        print(f"{name} {PEERS[name].version()}: {tried}", flush=True)
        if not tried.works:
            failed.append(name)
    return 1 if failed else 0


def described(peer: Peer) -> str:
    """A peer, its version, and what it lacks."""
    try:
        version = peer.version()
    except BenchError:
        version = "not installed"
    lacks = f"\n{'':<18} lacks {'; '.join(peer.lacks)}" if peer.lacks else ""
    return f"{peer.name:<18} {version:<34} {peer.about}{lacks}"


def _installed(peer: Peer) -> bool:
    """A peer that cannot be had keeps no one from the others."""
    try:
        peer.install(_progress)
        _progress(f"{peer.name}: {peer.version()} is installed")
    except BenchError as error:
        print(f"{peer.name}: {error}", file=sys.stderr)
        return False
    return True


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
