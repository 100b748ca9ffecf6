"""What clients say, and what proves who they are, is written down nowhere, and shown to nobody."""

import json
from pathlib import Path

from bench.mock import answers
from bench.mock.process import MockProcess
from certs.pki import Pki
from tests.e2e.gateway import KEY, Gateway, config_text, gateway, wait_for
from tests.supervisor.receiver import receiver

PROMPT, SYSTEM, TOOL, USER = "MARK-prompt-7f3a", "MARK-system-7f3a", "MARK-tool-7f3a", "MARK-user-field-7f3a"
GUESS, BEARER, QUERY, HEADER = "MARK-guess-7f3a", "MARK.bearer.7f3a", "MARK-query-7f3a", "MARK-header-7f3a"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJNQVJLLWlzcyJ9.MARKsignature7f3a"
MARKS = (PROMPT, SYSTEM, TOOL, USER, GUESS, BEARER, QUERY, HEADER, JWT, "MARKsignature", "eyJpc3MiOiJNQVJL", KEY)


def body(**more: object) -> dict[str, object]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
    tools = [{"type": "function", "function": {"name": TOOL, "parameters": {}}}]
    return {"model": "gpt-4o", "messages": messages, "tools": tools, "user": USER, "max_tokens": 4} | more


def everything(running: Gateway) -> None:
    """Requests of every fate, each with marks in it."""
    path = "/openai/v1/chat/completions"
    head = {"x-custom": HEADER, "user-agent": HEADER}
    with running.client() as known, running.client(None) as nobody:
        assert known.post(path, json=body(), headers=head).status_code == 200
        assert known.post(path, json=body(stream=True), headers=head).status_code == 200
        assert known.post("/openai/v1/embeddings", json={"model": "embed", "input": PROMPT}).status_code == 200
        for refused in (
            known.post(path, json=body(model="no-such-model"), headers=head),
            known.post(path, json=body(n="MARK-value-7f3a", store=True), headers=head),
            known.post(path, content=b'{"model": "gpt-4o", "messages": "' + PROMPT.encode(), headers=head),
            known.post(path + f"?api-key={QUERY}", json=body()),
            known.post(path + f"?unknown={QUERY}", json=body()),
            known.post(path, json=body(), headers={"authorization": f"Bearer {JWT}"}),
            nobody.post(path, json=body(), headers={"api-key": GUESS}),
            nobody.post(path, json=body(), headers={"authorization": f"Bearer {BEARER}"}),
            nobody.post(path, json=body(), headers={"authorization": f"Bearer {JWT}"}),
            nobody.post(path, json=body(), headers={"authorization": f"Basic {GUESS}"}),
            nobody.post(path, json=body()),
        ):
            assert refused.status_code >= 400 or "unknown=" in str(refused.url)


def test_what_is_said_and_what_proves_it_is_written_nowhere(tmp_path: Path, pki: Pki, mock: MockProcess) -> None:
    with receiver() as hook, receiver() as collector:
        more = f'[audit]\nwebhook = "{hook.url}"\notlp = "{collector.url}"\nuser = "hash"'
        with gateway(tmp_path, pki, mock, config_text(pki, mock, more=more)) as running:
            everything(running)
            wait_for(lambda: len(running.records()) == 14 or None)
            mock.fault("hang_stream", times=1)
            with (
                running.client() as leaving,
                leaving.stream("POST", "/openai/v1/chat/completions", json=body(stream=True)),
            ):
                pass
            wait_for(lambda: len(running.records()) == 15 or None)
            wait_for(lambda: _exported(collector.bodies) == 15 or None)
            shown = {path: running.api("GET", path).text for path in ("/metrics", "/api/status", "/")}
            shown |= written(tmp_path, "while it runs")
            assert any(place.endswith(".journal") for place in shown)
        shown |= written(tmp_path, "after it has ended")
        shown |= {"webhook": json.dumps(hook.received), "collector": json.dumps(collector.received)}
    mock.clear()
    for place, text in shown.items():
        assert [mark for mark in (*MARKS, "MARK", answers.text(3)) if mark in text] == [], place


def written(folder: Path, when: str) -> dict[str, str]:
    """Every file of the gateway but its configuration."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "penstock.toml"]
    return {f"{when}: {file}": file.read_bytes().decode("latin-1") for file in files}


def _exported(bodies: list[dict[str, list[dict[str, list[dict[str, list[object]]]]]]]) -> int:
    return sum(len(body["resourceLogs"][0]["scopeLogs"][0]["logRecords"]) for body in bodies)
