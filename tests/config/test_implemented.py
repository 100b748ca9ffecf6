"""A restriction is never parsed and ignored: the design's own example loads, but for what is not there yet, by name."""

import re

import msgspec
import pytest

from proxy.config import structs
from proxy.config.implemented import NEUTRAL
from tests.config.conftest import VALID, Judge, changed

EXAMPLE = """
[listen]
address = "0.0.0.0:8443"
certificate = "server.pem"
private_key = "server.key"
minimum_tls = "1.2"
workers = 0
trusted_proxies = []
[listen.health]
address = "127.0.0.1:8080"
[listen.bounds]
connections = 10_000
handshakes = 256
requests = 5_000
request_line = "16KiB"
headers = 100
header_bytes = "64KiB"
json_body = "32MiB"
body = "256MiB"
buffered_bodies = "512MiB"
handshake = "10s"
head = "15s"
body_idle = "30s"
keep_alive = "75s"
connect = "5s"
first_byte = "600s"
stream_idle = "300s"
client_stall = "60s"
request = "1h"
drain = "60s"
failure_delay = "1s"
[listen.client_certificates]
mode = "optional"
roots = ["client-root.pem"]
intermediates = []
crls = ["client.crl"]
ocsp = "aia"
revocation = "hard"
resumption = true
[admin]
address = "127.0.0.1:9443"
token = { file = "state/admin.token" }
[state]
path = "state/penstock.db"
pepper = { file = "state/pepper" }
redis = "redis://:hunter2@localhost"
[audit]
path = "log/audit.jsonl"
required = true
user = "hash"
webhook = "https://hooks.example/hunter2"
webhook_token = { env = "HOME" }
otlp = "https://collector.example/v1/logs"
otlp_token = { env = "HOME" }
[[issuers]]
name = "contoso"
issuer = "https://login.example/tenant/v2.0"
audiences = ["api://penstock"]
jwks = "https://login.example/keys"
algorithms = ["RS256", "ES256"]
types = ["at+jwt"]
ca = "server-root.pem"
leeway = "30s"
required_claims = { tid = "a", groups = ["b", "c"] }
client_claim = ["azp", "appid"]
user_claim = "oid"
[[clients]]
name = "turbine-7"
tenant = "power"
certificate = { issuer = "CN=Devices CA,O=Contoso", san_uri = ["spiffe://contoso/turbine-7"] }
token = { issuer = "contoso", client = "6f1c" }
keys = true
require = "all"
regions = ["swedencentral"]
on_disconnect = "drain"
[[clients.grants]]
models = ["gpt-4o"]
operations = ["chat.completions", "embeddings"]
scopes = ["chat.write"]
roles = ["r"]
groups = ["g"]
users = ["u"]
features = ["data_sources", "server_tools", "remote_images", "background"]
max_tokens = 4096
max_choices = 2
streaming = "forbidden"
tools = "allowed"
images = "allowed"
audio = "forbidden"
[clients.limits]
requests_per_minute = 600
tokens_per_minute = 120_000
tokens_per_day = 20_000_000
concurrent_requests = 64
priority = "batch"
[credentials.gateway]
kind = "managed_identity"
client_id = "c"
[credentials.application]
kind = "client_certificate"
client_id = "c"
tenant_id = "t"
certificate = "azure.pem"
[[backends]]
name = "swc-ptu"
url = "https://aoai-swc.openai.azure.com"
region = "swedencentral"
tier = "provisioned"
credential = "gateway"
ca = "server-root.pem"
[[models]]
name = "gpt-4o"
tokenizer = "o200k_base"
deployments = [{ backend = "swc-ptu", deployment = "gpt-4o-ptu", priority = 0, weight = 3 }]
"""

MISSING = [
    "listen.client_certificates.resumption",
    "state.redis",
    "clients[0].on_disconnect",
    "clients[0].limits.tokens_per_day",
]


def test_the_designs_example_is_refused_for_what_is_not_implemented_and_for_nothing_else(judge: Judge) -> None:
    lines = judge(EXAMPLE)
    assert [line.partition(": ")[0] for line in lines] == MISSING
    assert all("is not implemented in this build; leave it out" in line for line in lines)
    assert "hunter2" not in "\n".join(lines)


def test_the_example_names_every_key_there_is() -> None:
    """What is not in the example is an alternative to what is, or an addition of this build."""
    named = set(re.findall(r"\b([a-z_0-9]+) = ", EXAMPLE))
    tables = [kind for kind in vars(structs).values() if isinstance(kind, type) and issubclass(kind, structs.Table)]
    keys = {field for kind in tables for field in kind.__struct_fields__}
    elsewhere = {"env", "key_vault", "certificates", "subject", "san_dns", "san_email", "thumbprints", "key_hashes"}
    elsewhere |= {"serials"}
    elsewhere |= {"ocsp_allow", "revocation_refresh", "on_revocation", "share_state"}
    elsewhere |= {
        "tenant_id",
        "secret",
        "key",
        "authority",
        "scope",
        "token_file",
        "certificate_password",
        "rotate_at",
        "keep",
        "query",
    }
    elsewhere |= {"warn_days", "poll"}
    elsewhere |= {"tenants", "require_nbf", "refresh", "refetch_interval"}
    elsewhere |= {"backends", "tiers", "routes", "aliases", "affinity", "sticky", "cloud"}
    elsewhere |= {"connect_to", "client_certificate", "client_key", "forward_proxy"}
    elsewhere |= {"operations", "api_versions", "vision", "audio", "context", "spill_at", "canary"}
    for table in (structs.Breaker, structs.Routing, structs.RetryBudget, structs.Hedging, structs.Queueing):
        elsewhere |= set(table.__struct_fields__)
    elsewhere |= set(structs.HealthProbes.__struct_fields__) | set(structs.Upstream.__struct_fields__)
    elsewhere |= set(structs.Config.__struct_fields__) | set(structs.Listen.__struct_fields__) | {"grants", "limits"}
    assert keys - named <= elsewhere


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            changed("[listen.client_certificates]", "[listen.client_certificates]\nresumption = true"),
            "listen.client_certificates.resumption: true is not implemented in this build; leave it out",
        ),
        (
            changed('tenant = "power"', 'on_disconnect = "drain"'),
            'clients[0].on_disconnect: "drain" is not implemented in this build; leave it out, or give "cancel"',
        ),
    ],
)
def test_a_key_is_named_with_its_neutral_values(judge: Judge, text: str, line: str) -> None:
    assert line in judge(text)


def test_neutral_values_pass(judge: Judge) -> None:
    text = VALID.replace('mode = "optional"', 'mode = "optional"\ncrls = []\nocsp = "off"\nrevocation = "off"')
    text = text.replace('tenant = "power"', 'keys = false\nrequire = "all"\non_disconnect = "cancel"')
    assert judge(text.replace("[forward]", '[clients.limits]\npriority = "interactive"\n[forward]')) == []


def test_the_defaults_of_what_is_not_implemented_are_neutral() -> None:
    for table, keys in NEUTRAL.items():
        fields = {field.name: field for field in msgspec.structs.fields(table)}
        for key, neutral in keys.items():
            field = fields[key]
            assert field.required or field.default in neutral or field.default_factory() in neutral
