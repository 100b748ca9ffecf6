"""A PKI, and a place for a peer that stands before two upstreams."""

from pathlib import Path

import pytest

from bench.peers.peer import Place
from certs.pki import Pki


@pytest.fixture
def place(pki: Pki, tmp_path: Path) -> Place:
    upstreams = {"swc": "https://localhost:7001", "frc": "https://localhost:7002"}
    return Place(folder=tmp_path, pki=pki, upstreams=upstreams)
