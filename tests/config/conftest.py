"""A valid configuration on file, and what it needs beside it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from certs.application import application
from certs.pki import Pki, build
from proxy.config.load import ConfigError, load

MINIMAL = """
[listen]
certificate = "server.pem"
private_key = "server.key"
"""

VALID = """
[listen]
address = ["127.0.0.1:8443", "[::1]:8443"]
certificate = "server.pem"
private_key = "server.key"
certificates = [{ certificate = "mock.pem", private_key = "mock.key" }]
[listen.bounds]
json_body = "16MiB"
head = "1.5s"
[listen.client_certificates]
mode = "optional"
roots = ["client-root.pem"]
intermediates = ["client-intermediate.pem"]
[admin]
token = { file = "state/admin.token" }
[audit]
user = "none"
[[clients]]
name = "turbine-7"
tenant = "power"
certificate = { issuer = "CN=Devices CA,O=Contoso", san_uri = ["spiffe://contoso/turbine-7"] }
key_hashes = ["sha256:0000000000000000000000000000000000000000000000000000000000000001"]
regions = ["swedencentral"]
[[clients.grants]]
models = ["gpt-4o", "text-embedding-3-*"]
operations = ["chat.completions", "embeddings"]
features = ["data_sources"]
[clients.limits]
requests_per_minute = 600
[[clients]]
name = "billing"
certificate = { san_dns = ["billing.contoso.example"] }
[[clients.grants]]
models = ["*"]
operations = ["*"]
[credentials.gateway]
kind = "managed_identity"
[credentials.keyed]
kind = "api_key"
key = { file = "azure.key" }
[[backends]]
name = "swc"
url = "https://aoai-swc.openai.azure.com"
region = "swedencentral"
tier = "provisioned"
credential = "gateway"
ca = "server-root.pem"
[[backends]]
name = "fra"
url = "https://aoai-fra.openai.azure.com/"
region = "francecentral"
credential = "keyed"
[[models]]
name = "gpt-4o"
tokenizer = "o200k_base"
first_byte = "20m"
[[models.deployments]]
backend = "swc"
deployment = "gpt-4o-ptu"
priority = 0
[[models.deployments]]
backend = "fra"
deployment = "gpt-4o"
priority = 1
weight = 3
[[models]]
name = "text-embedding-3-small"
deployments = [{ backend = "swc", deployment = "embed" }]
[forward]
headers = ["x-team"]
query = ["debug"]
"""

Judge = Callable[[str], list[str]]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates, with what proves the gateway to a backend beside them; nothing in the directory changes."""
    made = build(tmp_path_factory.mktemp("config"))
    (made.directory / "azure.key").write_text("an-azure-key\n")
    application(made.directory / "azure.pem")
    return made


@pytest.fixture
def judge(pki: Pki) -> Judge:
    """What is wrong with a file of this text, without the file's name in front."""

    def run(text: str) -> list[str]:
        path = pki.directory / "judged.toml"
        path.write_text(text)
        try:
            load(path)
        except ConfigError as error:
            lines = error.lines()
            assert all(line.startswith(f"{path}: ") and "\n" not in line and "; " in line for line in lines)
            return [line.removeprefix(f"{path}: ").replace(str(pki.directory), "DIR") for line in lines]
        return []

    return run


def changed(old: str, new: str) -> str:
    """The valid file with one thing replaced."""
    assert VALID.count(old) >= 1, old
    return VALID.replace(old, new, 1)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PENSTOCK_TEST_SECRET", raising=False)
    return Path.cwd()
