"""The form of an upload, and the lines of a batch: what is judged is what is sent."""

import json
from typing import Any

import pytest

from proxy.config.structs import Client, Grant
from proxy.identity.principal import Principal
from proxy.policy.grants import Permissions
from proxy.policy.multipart import parts
from proxy.refusal import Reason, Refused
from proxy.stored.upload import Judged, Upload, judged, model_of

KIND = b"multipart/form-data; boundary=b"


def form(*given: tuple[str, bytes]) -> bytes:
    body = b""
    for name, value in given:
        filename = b'; filename="f.jsonl"' if name == "file" else b""
        body += b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name.encode(), filename, value)
    return body + b"--b--\r\n"


@pytest.mark.parametrize("order", [("purpose", "file"), ("file", "purpose")])
def test_a_form_is_read_in_any_order_and_written_anew(order: tuple[str, str]) -> None:
    values = {"purpose": b"assistants", "file": b"\x00words\r\n"}
    upload = Upload(form(*((name, values[name]) for name in order)), KIND)
    assert (upload.purpose, upload.content) == ("assistants", b"\x00words\r\n")
    sent = upload.sent(b"other")
    assert [(part.name, sent[part.start : part.end]) for part in parts(sent, KIND)] == [
        ("purpose", b"assistants"), ("file", b"other"),
    ]  # fmt: skip
    assert b'filename="f.jsonl"' in sent


REFUSED = [
    form(("file", b"x")),
    form(("purpose", b"assistants")),
    form(("purpose", b"other"), ("file", b"x")),
    form(("purpose", b"assistants"), ("purpose", b"batch"), ("file", b"x")),
    form(("purpose", b"assistants"), ("file", b"x"), ("file", b"y")),
    form(("purpose", b"assistants"), ("file", b"x"), ("model", b"y")),
    form(("purpose", b"a" * 300), ("file", b"x")),
    form(("purpose", b"batch"), ("file", b"x")).replace(
        b"\r\n\r\nx", b"\r\nContent-Transfer-Encoding: base64\r\n\r\nx"
    ),
    b"--b--\r\n",
    b"nothing",
]


@pytest.mark.parametrize("body", REFUSED)
def test_forms_that_are_refused(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        Upload(body, KIND)
    assert caught.value.reason in (Reason.BAD_REQUEST, Reason.UNJUDGED)


PERMISSIONS = Permissions(
    Client(
        name="c",
        grants=(
            Grant(models=("gpt-4o",), operations=("chat.completions", "responses", "responses.*"), max_tokens=9),
            Grant(models=("embed",), operations=("embeddings",)),
        ),
    ),
    frozenset(("gpt-4o", "embed", "o3")),
)
WHO = Principal("c", None, "key", "")


def line(url: str = "/v1/chat/completions", method: str = "POST", **body: Any) -> dict[str, Any]:
    return {"custom_id": "1", "method": method, "url": url, "body": {"model": "gpt-4o", "messages": [], **body}}


def judge(*lines: Any) -> Judged:
    content = b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines)
    return judged(
        content,
        "dep",
        lambda operation, model, request: PERMISSIONS.authorize(operation, model, WHO, request),
        lambda model, size, limit: 100 + (limit or 0),
        closely=PERMISSIONS.closely,
    )


def test_lines_are_rewritten_for_the_deployment_and_bounded() -> None:
    found = judge(line(max_tokens=4), b"", line())
    first, second = [json.loads(one) for one in found.content.splitlines()]
    assert (first["body"]["model"], first["body"]["max_tokens"]) == ("dep", 4)
    assert second["body"]["max_completion_tokens"] == 9
    assert (found.operation, found.model, found.tokens) == ("chat.completions", "gpt-4o", 213)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([line(model="o3")], Reason.NOT_GRANTED),
        ([line(model="unknown")], Reason.UNKNOWN_MODEL),
        ([line(url="/v1/embeddings")], Reason.NOT_GRANTED),
        ([line(max_tokens=10)], Reason.PARAMETER_NOT_GRANTED),
        ([line(tools=[{"type": "mcp"}])], Reason.FEATURE_NOT_GRANTED),
        ([line(store=True)], Reason.STORED_STATE),
        ([line(url="/v1/responses", store=True)], Reason.BAD_JSON),
        ([line(url="/v1/responses", previous_response_id="r")], Reason.BAD_JSON),
        ([line(stream=True)], Reason.BAD_JSON),
        ([line(method="GET")], Reason.BAD_JSON),
        ([line(url="/v1/files")], Reason.UNJUDGED),
        ([line(url="https://elsewhere/v1/chat/completions")], Reason.UNJUDGED),
        ([line(), line(model="o3")], Reason.BAD_JSON),
        ([line(), line(url="/v1/responses")], Reason.BAD_JSON),
        ([line(), b"nonsense"], Reason.BAD_JSON),
        ([{**line(), "more": 1}], Reason.BAD_JSON),
        ([b"{}"], Reason.MODEL_MISSING),
        ([b""], Reason.BAD_JSON),
        ([b'{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4o","model":"o3"}}'],
         Reason.NOT_GRANTED),
    ],
)  # fmt: skip
def test_lines_that_are_refused(lines: list[Any], reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        judge(*lines)
    assert caught.value.reason is reason


def test_the_model_of_a_batch_is_its_first_lines() -> None:
    assert model_of(b"\n\n" + json.dumps(line()).encode()) == "gpt-4o"
