"""The load over real sockets and TLS: what it counts is what the mock did, and what goes wrong is counted as wrong."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from bench.load.connection import Asked, Plan
from bench.load.engine import Load, Target
from bench.load.results import Results
from bench.load.workload import plain, stream
from bench.mock.process import MockProcess
from certs.pki import Pki

KEY = {"api-key": "bench"}
WORKLOAD = plain("localhost", KEY)
PLAIN = Plan(workload=WORKLOAD)
PACED = Plan(workload=stream("localhost", KEY, 10, "paced"), interval=0.005)


@contextmanager
def load(target: Target) -> Iterator[Load]:
    with closing(Load(target)) as running:
        yield running


def test_closed_loop_answers_are_compared_and_counted(target: Target) -> None:
    with load(target) as running:
        running.start(3, PLAIN)
        running.run(0.3)
        assert running.finish(3.0) == 0
        assert not running.results.errors
        assert running.results.answers == running.asked > 3
        assert running.results.first_byte.count == running.asked
        assert running.results.tls.startswith("TLSv1.3")


def test_streams_are_counted_by_events_and_measured_by_their_schedule(target: Target) -> None:
    with load(target) as running:
        running.start(2, PACED)
        running.run(0.2)
        assert running.finish(3.0) == 0
        assert not running.results.errors
        assert running.results.events == running.results.answers * 15
        assert running.results.first_byte.count == running.results.answers
        assert running.results.late.count > 0


def test_open_loop_asks_at_its_rate_over_kept_connections(target: Target, mock: MockProcess) -> None:
    accepted = mock.stats()["accepted"]
    with load(target) as running:
        running.offer(200.0, PLAIN, connections=4)
        running.run(0.5)
        assert running.finish(3.0) == 0
        assert not running.results.errors
        assert 90 <= running.asked <= 101
        assert running.results.answers == running.asked
    assert mock.stats()["accepted"] - accepted <= 4 + 1  # the control's own question is one


def test_open_loop_counts_the_wait_for_a_connection(target: Target) -> None:
    with load(target) as running:
        running.offer(100.0, PACED, connections=1)  # an answer takes some 70 ms: seven fall due meanwhile
        running.run(0.6)
        running.finish(0.3)
        assert running.results.first_byte.max > 0.1


def test_every_request_of_a_mixed_offer_is_told(target: Target, mock: MockProcess) -> None:
    told: list[Asked] = []
    with load(target) as running:
        running.told = told.append
        running.offer(100.0, (PLAIN, PACED), connections=8)
        running.run(0.3)
        mock.fault("throttle", retry_after=2, times=1)
        running.run(0.1)
        assert running.finish(3.0) == 0
    assert len(told) == running.asked > 20
    (refused,) = (one for one in told if one.wrong)
    assert refused.wrong == "status 429"
    assert refused.first is None
    assert b"retry-after: 2" in refused.head
    well = [one for one in told if not one.wrong]
    assert {one.plan is PLAIN for one in well} == {True, False}
    assert all(one.first is not None and one.due <= one.first <= one.over for one in well)


def test_what_is_given_up_was_never_answered(target: Target, mock: MockProcess) -> None:
    told: list[Asked] = []
    with load(target) as running:
        running.told = told.append
        running.offer(50.0, PLAIN, connections=8)
        running.run(0.1)
        mock.fault("hang")
        running.run(0.1)
        assert running.finish(0.1) > 0
        running.abandon()
        assert running.open == 0
    mock.clear()
    assert {one.wrong for one in told} == {"", "never answered"}
    assert len(told) == running.asked


def test_handshakes_count_when_the_server_has_said_goodbye(target: Target) -> None:
    with load(target) as running:
        running.start(2, Plan())
        running.run(0.3)
        running.finish(2.0)
        assert running.results.handshakes > 2
        assert not running.results.errors


def test_clients_that_leave_are_gone_in_mid_stream(target: Target, mock: MockProcess) -> None:
    mock.forget()
    with load(target) as running:
        plan = Plan(workload=PACED.workload, leave_after=5, tagged=True)
        running.start(1, plan)
        running.start(1, Plan(workload=PACED.workload, leave_after=5, tagged=True, farewell=True))
        running.run(0.2)
        running.finish(2.0)
        assert not running.results.errors
        assert running.results.answers == 0
        assert len(running.left) == running.asked > 2
    assert all(received["gone_after"] is not None for received in mock.received())


def test_clients_that_never_read_stay(target: Target) -> None:
    with load(target) as running:
        running.start(3, Plan(workload=stream("localhost", KEY, 2000), reads=False))
        running.run(0.3)
        assert running.open == 3
        assert running.results.events == 0
        assert not running.results.errors


def test_a_refusal_is_an_error_by_its_status(target: Target) -> None:
    with load(target) as running:
        running.start(1, Plan(workload=plain("localhost", {"api-key": "wrong"}), returns=False))
        running.run(0.2)
        assert running.results.errors == {"status 401": 1}
        assert running.open == 0


def test_a_reset_connection_is_an_error_and_is_replaced(target: Target, mock: MockProcess) -> None:
    mock.fault("reset", times=1)
    with load(target) as running:
        running.start(1, PLAIN)
        running.run(0.3)
        running.finish(2.0)
        assert running.results.failed == 1
        assert running.results.answers > 0
        assert len(running.failed) == 1


def test_no_one_at_home(pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with load(Target("localhost", port, str(pki.server_root))) as running:
        running.start(1, Plan(workload=WORKLOAD, returns=False))
        running.run(0.1)
        assert running.results.errors == {"connecting: ECONNREFUSED": 1}
        assert running.results.asked == 1
        assert [(tally.asked, tally.failed) for tally, _ in running.results.tallies.values()] == [(1, 1)]


def test_a_server_that_speaks_no_tls(pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_greet, args=(server,), daemon=True).start()
        with load(Target("localhost", server.getsockname()[1], str(pki.server_root))) as running:
            running.start(1, Plan(returns=False))
            running.run(0.3)
            assert running.results.errors == {"handshaking: WRONG_VERSION_NUMBER": 1}


def _greet(server: socket.socket) -> None:
    with server.accept()[0] as peer:
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.recv(4096)


def test_plain_http_where_there_is_no_root() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer, args=(server,), daemon=True).start()
        with load(Target("localhost", server.getsockname()[1], None)) as running:
            running.start(1, Plan(workload=PLAIN.workload, returns=False))
            running.run(0.1)
            running.finish(3.0)
            assert running.results.answers == 1
            assert not running.results.handshakes


def _answer(server: socket.socket) -> None:
    assert PLAIN.workload is not None
    payload = PLAIN.workload.payload
    with server.accept()[0] as client:
        client.recv(65536)
        client.sendall(
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(payload), payload)
        )
        server.close()


def test_an_open_loop_that_is_refused_counts_every_request(pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with load(Target("localhost", port, str(pki.server_root))) as running:
        now = time.monotonic()
        running.follow(((now, PLAIN) for _ in range(3000)), 2)
        running.run(0.2)
        running.finish(10.0)
        assert running.results.errors == {"connecting: ECONNREFUSED": 3000}
        assert running.results.asked == 3000


def test_a_refusal_is_read_to_its_end_and_keeps_its_connection(target: Target, mock: MockProcess) -> None:
    mock.fault("throttle", retry_after=2, times=3)
    with load(target) as running:
        running.offer(100.0, PLAIN, connections=1)
        running.run(0.3)
        assert running.finish(10.0) == 0
        assert running.results.errors == {"status 429": 3}
        assert (running.results.refused, running.results.untold) == (3, 0)
        assert running.results.handshake.count == 1


def test_one_who_reads_slowly_takes_its_time_and_gets_every_byte(target: Target) -> None:
    workload = plain("localhost", KEY, 4000)
    with load(target) as running:
        running.start(1, Plan(workload=workload, pace=100_000.0))
        assert running.finish(30.0) == 0
        assert not running.results.errors
        assert running.results.answers == 1
        assert running.results.last_byte.max > 0.5 * len(workload.payload) / 100_000
        assert running.results.between_events.count == 0


def test_a_large_request_is_sent_whole(target: Target) -> None:
    with load(target) as running:
        running.start(1, Plan(workload=plain("localhost", KEY, prompt="x" * 4_000_000)))
        assert running.finish(30.0) == 0
        assert not running.results.errors
        assert running.results.answers == 1


def test_a_server_may_close_what_is_idle(pki: Pki) -> None:
    pair = pki.pairs["mock"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(WORKLOAD.payload), WORKLOAD.payload)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer_once_each, args=(server, context, answer, 2), daemon=True).start()
        with load(Target("localhost", server.getsockname()[1], str(pki.server_root))) as running:
            now = time.monotonic()
            running.follow(iter([(now, PLAIN), (now + 0.5, PLAIN)]), 4)
            while running.results.answers < 2 and time.monotonic() < now + 20.0:
                running.run(0.05)
            assert running.results.answers == 2
            assert not running.results.errors


def _answer_once_each(server: socket.socket, context: ssl.SSLContext, answer: bytes, times: int) -> None:
    for _ in range(times):
        with server.accept()[0] as raw, context.wrap_socket(raw, server_side=True) as peer:
            data = b""
            while not data.endswith(WORKLOAD.body):
                data += peer.recv(65536)
            peer.sendall(answer)


def test_kinds_of_errors_are_bounded() -> None:
    results = Results()
    for number in range(1000):
        results.wrong(f"status {number}")
    assert len(results.errors) == 65
    assert results.failed == 1000
