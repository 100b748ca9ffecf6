"""Requests through the gateway as its clients make them, and the records that these leave."""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from bench.demo.failure import DemoFailed
from bench.demo.running import wait
from bench.demo.scenarios import Attempt
from certs.pki import Pki

_ANSWER_WITHIN = 30.0
_PROMPT = "How does the water get to the turbines?"
_OF_ANSWERED = ("client", "tenant", "user", "credential", "model", "backend", "region", "attempts", "tokens", "ttfb_ms")
_OF_REFUSED = ("client", "credential", "model", "decision", "reason", "rule", "status")


def ask(pki: Pki, port: int, attempt: Attempt) -> str:
    """One streamed chat completion, its tokens printed as they arrive; the request's id. Raises `DemoFailed`."""
    print(f"\nasked with {attempt.words}: {_PROMPT}\nanswer: ", end="", flush=True)
    try:
        with _opened(pki, port, attempt) as answer:
            for line in answer:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        print(choice["delta"].get("content") or "", end="", flush=True)
            print(f"\nanswered by {answer.headers['x-penstock-backend']} in {answer.headers['x-penstock-region']}")
            return str(answer.headers["x-request-id"])
    except OSError as error:
        raise DemoFailed(f"no answer: {error}") from None


def ask_in_vain(pki: Pki, port: int, attempt: Attempt) -> str:
    """The same request where it is refused, and the refusal printed; the request's id. Raises `DemoFailed`."""
    print(f"\nasked with {attempt.words}")
    try:
        with _opened(pki, port, attempt):
            raise DemoFailed("it was answered")
    except urllib.error.HTTPError as error:
        with error:
            message = json.load(error)["error"]["message"]
        print(f"refused: {error.status} {message}")
        return str(error.headers["x-request-id"])
    except OSError as error:
        raise DemoFailed(f"no answer: {error}") from None


def _opened(pki: Pki, port: int, attempt: Attempt) -> Any:
    context = ssl.create_default_context(cafile=str(pki.server_root))
    if attempt.pair is not None:
        context.load_cert_chain(attempt.pair.certificate, attempt.pair.key)
    message = {"role": "user", "content": _PROMPT}
    body = {"model": attempt.model, "messages": [message], "max_tokens": 24, "stream": True}
    request = urllib.request.Request(
        f"https://localhost:{port}/openai/v1/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json", **attempt.headers},
    )
    return urllib.request.urlopen(request, context=context, timeout=_ANSWER_WITHIN)  # noqa: S310


def show_record(audit: Path, request_id: str, *, decision: str) -> None:
    """Print the record of a request. Raises `DemoFailed` if there is none, or it says something else."""
    if not wait(lambda: _record(audit, request_id) is not None):
        raise DemoFailed(f"no record in {audit}")
    record = _record(audit, request_id)
    assert record is not None
    shown = _OF_ANSWERED if decision == "allowed" else _OF_REFUSED
    print("record:", json.dumps({name: record[name] for name in shown}))
    ended = {"allowed": "complete", "refused": "refused"}[decision]
    if (record["decision"], record["end"]) != (decision, ended):
        raise DemoFailed(f"the request was {record['decision']} and ended as {record['end']}")


def _record(audit: Path, request_id: str) -> dict[str, Any] | None:
    # A record that is being written as we read has no line end yet.
    lines = (
        [line for line in audit.read_text().splitlines(keepends=True) if line.endswith("\n")] if audit.exists() else []
    )
    records = (json.loads(line) for line in reversed(lines))
    return next((record for record in records if record.get("request_id") == request_id), None)


def as_curl(pki: Pki, port: int, attempt: Attempt) -> str:
    """The command that asks again."""
    proof = "".join(f"-H '{name}: {value}' " for name, value in attempt.headers.items())
    if attempt.pair is not None:
        proof += f"--cert {attempt.pair.certificate} --key {attempt.pair.key} "
    body = {"model": attempt.model, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    return (
        f"curl --cacert {pki.server_root} {proof}-H 'content-type: application/json' "
        f"https://localhost:{port}/openai/v1/chat/completions -d '{json.dumps(body)}'"
    )
