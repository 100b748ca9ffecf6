"""Malformed and hostile HTTP/1.1 over real TLS: a 4xx, a closed connection where framing is in doubt, no backend."""

import contextlib
import json
import socket

import pytest

from bench.mock.process import MockProcess
from tests.e2e.gateway import KEY, OTHER_KEY, Gateway

BODY = b'{"model":"gpt-4o","messages":[],"max_tokens":1}'
CHAT = b"/openai/v1/chat/completions"


def request(
    *lines: bytes,
    target: bytes = CHAT,
    method: bytes = b"POST",
    body: bytes = BODY,
    key: bytes | None = KEY.encode(),
    length: bool = True,
    content_type: bytes = b"application/json",
) -> bytes:
    head = [b"%b %b HTTP/1.1" % (method, target), b"Host: localhost", b"Content-Type: " + content_type]
    if key is not None:
        head.append(b"api-key: " + key)
    if length:
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*head, *lines]) + b"\r\n\r\n" + body


CLOSED = [
    ("both framings", request(b"Transfer-Encoding: chunked"), 400),
    ("two lengths", request(b"Content-Length: 3"), 400),
    ("gzip, chunked", request(b"Transfer-Encoding: gzip, chunked", length=False), 400),
    ("chunked twice", request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", length=False), 400),
    ("bare line feeds", request().replace(b"\r\n", b"\n"), 400),
    ("one bare line feed", request(b"X: a\nY: b"), 400),
    ("folded line", request(b"X: a\r\n b"), 400),
    ("NUL in a header", request(b"X: a\0b"), 400),
    ("space before the colon", request(b"X : a"), 400),
    ("no host", request().replace(b"Host: localhost\r\n", b""), 400),
    ("two hosts", request(b"Host: other"), 400),
    ("two keys", request(b"api-key: another"), 400),
    ("too many headers", request(*[b"X-%d: y" % n for n in range(200)]), 431),
    ("huge header", request(b"X: " + b"y" * 70_000), 431),
    ("huge request line", request(target=CHAT + b"?x=" + b"y" * 20_000), 414),
    ("chunk size gone wrong", request(b"Transfer-Encoding: chunked", length=False, body=b"zz\r\n"), 400),
    ("chunk longer than its size", request(b"Transfer-Encoding: chunked", length=False, body=b"1\r\nabc\r\n"), 400),
    ("negative chunk", request(b"Transfer-Encoding: chunked", length=False, body=b"-1\r\n"), 400),
    ("garbage", b"\x00\x01\x02 garbage\r\n\r\n", 400),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405),
    ("other expectation", request(b"Expect: 200-ok"), 417),
]


@pytest.mark.parametrize(("data", "status"), [row[1:] for row in CLOSED], ids=[row[0] for row in CLOSED])
def test_framing_in_doubt_ends_the_connection(calm: Gateway, mock: MockProcess, data: bytes, status: int) -> None:
    answer = calm.raw(data + request())
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert mock.received() == []


REFUSED = [
    ("absolute target", request(target=b"https://localhost" + CHAT), 400),
    ("asterisk", request(method=b"OPTIONS", target=b"*", body=b""), 400),
    ("dot dot", request(target=b"/openai/v1/../v1/chat/completions"), 400),
    ("encoded dot dot", request(target=b"/openai/v1/%2e%2e/v1/chat/completions"), 400),
    ("encoded slash", request(target=b"/openai/v1/chat%2Fcompletions"), 400),
    ("double slash", request(target=b"/openai//v1/chat/completions"), 400),
    ("fragment", request(target=CHAT + b"#x"), 400),
    ("credential in the query", request(target=CHAT + b"?api-key=" + KEY.encode()), 400),
    ("token in the query", request(target=CHAT + b"?access_token=x"), 400),
    ("api-version twice", request(target=CHAT + b"?api-version=1&api-version=2"), 400),
    ("unknown path", request(target=b"/openai/v1/nothing"), 404),
    ("stored state", request(target=b"/openai/v1/files"), 403),
    ("stored response", request(target=b"/openai/v1/responses/r1", method=b"GET", body=b""), 403),
    ("wrong method", request(method=b"GET"), 405),
    ("no credential", request(key=None), 401),
    ("wrong key", request(key=b"nope"), 401),
    ("a token", request(b"Authorization: Bearer eyJhbGciOiJub25lIn0.e30.", key=None), 401),
    ("a token beside a key", request(b"Authorization: Bearer eyJhbGciOiJub25lIn0.e30."), 401),
    ("another client's key beside it", request(b"Authorization: Bearer " + OTHER_KEY.encode()), 401),
    ("basic authorization", request(b"Authorization: Basic YTpi", key=None), 401),
    ("encoded body", request(b"Content-Encoding: gzip"), 415),
    ("not JSON by type", request(content_type=b"text/plain"), 415),
    ("not JSON", request(body=b"{nope"), 400),
    ("an array", request(body=b"[]"), 400),
    ("deep", request(body=b"[" * 50_000), 400),
    ("no model", request(body=b"{}"), 400),
    ("unknown model", request(body=b'{"model":"x"}'), 404),
    ("remote image", request(body=b'{"model":"gpt-4o","messages":[{"image_url":"https://a"}]}'), 403),
    ("data sources", request(body=b'{"model":"gpt-4o","data_sources":[{}]}'), 403),
    ("server-side tool", request(body=b'{"model":"gpt-4o","tools":[{"type":"mcp"}]}'), 403),
    ("store", request(body=b'{"model":"gpt-4o","store":true}'), 403),
    ("no framing", request(length=False, body=b""), 411),
]


@pytest.mark.parametrize(("data", "status"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refusals_leave_the_connection_usable_and_the_backend_in_peace(
    calm: Gateway, mock: MockProcess, data: bytes, status: int
) -> None:
    with calm.connect() as sock:
        sock.sendall(data)
        answer = _read_answer(sock)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert mock.received() == []
        sock.sendall(request())
        assert _read_answer(sock).startswith(b"HTTP/1.1 200 ")
    request_id = _header(answer, b"x-request-id").decode()
    record = calm.record_of(request_id)
    assert (record["decision"], record["status"], record["end"]) == ("refused", status, "refused")
    assert KEY not in json.dumps(record)


def test_headers_that_would_switch_deployments_do_not_pass(calm: Gateway, mock: MockProcess) -> None:
    lines = (
        b"x-ms-deployment: other",
        b"azureml-model-deployment: other",
        b"x-ms-oai-image-generation-deployment: other",
        b"x-forwarded-host: other",
        b"cookie: a=b",
        b"x-ms-client-request-id: mine",
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    answer = calm.raw(request(b"Connection: close", *lines, target=CHAT + b"?deployment=other"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    (seen,) = mock.received()
    headers = dict(seen["headers"])
    assert set(headers) == {
        "host", "authorization", "content-type", "content-length", "accept-encoding", "x-ms-client-request-id",
        "traceparent",
    }  # fmt: skip
    assert headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert "b7ad6b7169203331" not in headers["traceparent"]
    assert "deployment=" not in seen["target"]
    assert b"set-cookie" not in answer.lower()
    record = calm.record(lambda r: r["trace_id"] is not None)
    assert record["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_what_is_authorized_is_what_is_sent(calm: Gateway, mock: MockProcess) -> None:
    body = b'{"model":"embed","model":"gpt-4o","messages":[]}'
    assert calm.raw(request(b"Connection: close", body=body, key=OTHER_KEY.encode())).startswith(b"HTTP/1.1 200 ")
    assert mock.received()[0]["body"] == '{"model":"gpt-4o","messages":[]}'
    body = b'{"model":"gpt-4o","model":"embed","messages":[]}'
    assert calm.raw(request(b"Connection: close", body=body, key=OTHER_KEY.encode())).startswith(b"HTTP/1.1 403 ")


def test_pipelined_requests_are_answered_in_order(calm: Gateway) -> None:
    one, two = (request(body=b'{"model":"gpt-4o","messages":[],"max_tokens":%d}' % n) for n in (1, 2))
    answer = calm.raw(one + two + request(b"Connection: close", target=b"/openai/v1/models", method=b"GET", body=b""))
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert answer.index(b'"completion_tokens":1') < answer.index(b'"completion_tokens":2') < answer.index(b"owned_by")


def test_a_head_that_comes_byte_by_byte(calm: Gateway) -> None:
    data = request(b"Connection: close")
    with calm.connect() as sock:
        for index in range(len(data)):
            sock.sendall(data[index : index + 1])
        assert _read_answer(sock).startswith(b"HTTP/1.1 200 ")


def test_a_chunked_request_body(calm: Gateway, mock: MockProcess) -> None:
    body = b"".join(b"%x;ext=1\r\n%b\r\n" % (1, BODY[i : i + 1]) for i in range(len(BODY))) + b"0\r\nTrailer: x\r\n\r\n"
    data = request(b"Transfer-Encoding: chunked", b"Connection: close", length=False, body=body)
    assert calm.raw(data).startswith(b"HTTP/1.1 200 ")
    headers = dict(mock.received()[0]["headers"])
    assert "transfer-encoding" not in headers
    assert int(headers["content-length"]) == len(mock.received()[0]["body"])


def test_expect_continue(calm: Gateway) -> None:
    data = request(b"Expect: 100-continue")
    head, body = data[: -len(BODY)], data[-len(BODY) :]
    with calm.connect() as sock:
        sock.sendall(head)
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert _read_answer(sock).startswith(b"HTTP/1.1 200 ")


def test_no_continue_for_who_may_not(calm: Gateway) -> None:
    data = request(b"Expect: 100-continue", key=b"nope")
    answer = calm.raw(data[: -len(BODY)])
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer


def test_head_and_http_1_0(calm: Gateway) -> None:
    answer = calm.raw(request(b"Connection: close", target=b"/openai/v1/models", method=b"HEAD", body=b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
    old = request(body=b'{"model":"gpt-4o","messages":[],"max_tokens":2,"stream":true}').replace(
        b"HTTP/1.1", b"HTTP/1.0"
    )
    answer = calm.raw(old)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"data: [DONE]\n\n")


def test_a_body_past_its_bound(calm: Gateway) -> None:
    answer = calm.raw(request(b"Content-Length: 99999999", length=False, body=b"{"))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_plain_http_on_the_tls_port(calm: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", calm.port), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert not sock.recv(1000).startswith(b"HTTP")
    assert calm.raw(request(b"Connection: close")).startswith(b"HTTP/1.1 200 ")


def _read_answer(sock: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    while len(body) < int(_header(head, b"content-length")):
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def _header(answer: bytes, name: bytes) -> bytes:
    return answer.lower().partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0]
