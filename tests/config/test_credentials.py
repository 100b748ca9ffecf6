"""What each kind of credential needs, and what of it is looked into offline."""

from pathlib import Path

import pytest

from certs.application import application
from certs.pki import Pki
from tests.config.conftest import Judge, changed

WORKLOAD = 'kind = "workload_identity"\ntenant_id = "t"\nclient_id = "c"\ntoken_file = "azure.key"'
CERTIFICATE = 'kind = "client_certificate"\ntenant_id = "t"\nclient_id = "c"\ncertificate = "azure.pem"'
SECRET = 'kind = "client_secret"\ntenant_id = "t"\nclient_id = "c"\nsecret = { file = "azure.key" }'


def gateway(text: str) -> str:
    """The valid file with this as its first credential."""
    return changed('kind = "managed_identity"', text)


@pytest.fixture(autouse=True)
def no_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "text",
    [
        'kind = "managed_identity"\nclient_id = "c"\ncloud = "us_government"',
        WORKLOAD,
        WORKLOAD + '\ncloud = "china"\nscope = "https://ai.azure.com/.default"\nca = "server-root.pem"',
        SECRET + '\nauthority = "https://login.example"',
        SECRET + '\nauthority = "login.example"',
        CERTIFICATE,
        'kind = "azure_cli"',
        'kind = "azure_cli"\ntenant_id = "contoso.example"\ncloud = "china"',
    ],
)
def test_nothing_wrong(judge: Judge, text: str) -> None:
    assert judge(gateway(text)) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('kind = "api_key"\ncloud = "china"', 'cloud: set; kind "api_key" makes no use of it: leave it out'),
        ('kind = "azure_cli"\nclient_id = "c"', 'client_id: set; kind "azure_cli" makes no use of it: leave it out'),
        ('kind = "azure_cli"\ntenant_id = "a b"', 'tenant_id: "a b"; give a tenant\'s id or domain'),
        (
            'kind = "managed_identity"\ntoken_file = "azure.key"',
            'token_file: set; kind "managed_identity" makes no use of it: leave it out',
        ),
        (
            'kind = "managed_identity"\nscope = "https://cognitiveservices.azure.com"',
            'scope: "https://cognitiveservices.azure.com"; give the address of what is used, and "/.default": "https:',
        ),
        (
            'kind = "workload_identity"\ntenant_id = "t"\nclient_id = "c"',
            'token_file: missing; kind "workload_identity" needs it, or the environment variable AZURE_FEDERATED_TOKEN',
        ),
        (WORKLOAD.replace("azure.key", "absent"), "token_file: DIR/absent cannot be read (No such file or directory);"),
        (
            WORKLOAD.replace("azure.key", "empty"),
            "token_file: DIR/empty is empty; name the file that the cluster keeps",
        ),
        (CERTIFICATE.replace('client_id = "c"\n', ""), 'client_id: missing; kind "client_certificate" needs it'),
        (
            CERTIFICATE.replace("azure.pem", "absent"),
            "certificate: DIR/absent cannot be read (No such file or directory)",
        ),
        (CERTIFICATE.replace("azure.pem", "mock.pem"), "certificate: DIR/mock.pem holds no private key; give PEM"),
        (
            CERTIFICATE.replace("azure.pem", "mock.key"),
            "certificate: DIR/mock.key holds no certificate that can be read",
        ),
        (CERTIFICATE.replace("azure.pem", "ec.pem"), "certificate: DIR/ec.pem has a key that is not RSA; Entra takes"),
        (
            CERTIFICATE.replace("azure.pem", "mixed.pem"),
            "certificate: DIR/mixed.pem is not the key of the first certificate in DIR/mixed.pem; give the leaf first",
        ),
        (
            CERTIFICATE.replace("azure.pem", "locked.pem"),
            "certificate: DIR/locked.pem needs a passphrase; name it under certificate_password",
        ),
        (
            CERTIFICATE.replace("azure.pem", "locked.pem") + '\ncertificate_password = { file = "azure.key" }',
            "certificate: DIR/locked.pem holds no private key that its passphrase opens; give PEM, and its passphrase",
        ),
        (
            CERTIFICATE + '\ncertificate_password = { file = "azure.key" }',
            "certificate: DIR/azure.pem needs no passphrase; leave certificate_password out",
        ),
        (
            CERTIFICATE + '\ncertificate_password = { env = "PENSTOCK_TEST_SECRET" }',
            "certificate_password: the environment variable PENSTOCK_TEST_SECRET is not set or empty; give",
        ),
    ],
)
def test_one_thing_wrong(pki: Pki, judge: Judge, text: str, says: str) -> None:
    make(pki.directory)
    lines = judge(gateway(text))
    assert any(line.startswith(f"credentials.gateway.{says}") for line in lines), lines


def make(folder: Path) -> None:
    """Files that are not what they should be."""
    if not (folder / "locked.pem").exists():
        (folder / "empty").write_text(" \n")
        mine, other = (
            application(folder / "locked.pem", password="open sesame"),
            application(folder / "ec.pem", algorithm="ec"),
        )
        third = (folder / "azure.pem").read_bytes()
        certificate = other.read_bytes().partition(b"-----BEGIN PRIVATE")[0]
        (folder / "mixed.pem").write_bytes(certificate + third[third.index(b"-----BEGIN PRIVATE") :])
        assert mine.stat().st_mode & 0o077 == 0


def test_a_passphrase_that_opens_it(pki: Pki, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    make(pki.directory)
    monkeypatch.setenv("PENSTOCK_TEST_SECRET", "open sesame")
    password = 'certificate_password = { env = "PENSTOCK_TEST_SECRET" }'
    assert judge(gateway(CERTIFICATE.replace("azure.pem", "locked.pem") + "\n" + password)) == []


def test_a_workload_is_told_by_its_environment(pki: Pki, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TENANT_ID", "t")
    monkeypatch.setenv("AZURE_CLIENT_ID", "c")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(pki.directory / "azure.key"))
    assert judge(gateway('kind = "workload_identity"')) == []
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(pki.directory / "absent"))
    (line,) = judge(gateway('kind = "workload_identity"'))
    assert line.startswith("credentials.gateway.token_file: DIR/absent cannot be read")
