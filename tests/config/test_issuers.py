"""Issuers of tokens: what a file may say of them, and what is wrong with what else it says."""

# ruff: noqa: E501

import pytest

from tests.config.conftest import VALID, Judge

ISSUER = """
[[issuers]]
name = "contoso"
issuer = "https://login.example/tenant/v2.0"
audiences = ["api://penstock"]
jwks = "https://login.example/keys"
algorithms = ["RS256", "PS512", "ES384", "EdDSA"]
types = ["at+jwt"]
ca = "server-root.pem"
leeway = "0s"
require_nbf = false
required_claims = { tid = "a", groups = ["b", "c"] }
client_claim = ["azp", "appid"]
user_claim = "oid"
refresh = "10m"
refetch_interval = "5s"
[[issuers]]
name = "entra"
issuer = "https://login.microsoftonline.com/{tenantid}/v2.0"
tenants = ["aaaaaaaa-0000-0000-0000-000000000001", "contoso.example"]
audiences = ["api://penstock"]
"""
CLIENT = """
[[clients]]
name = "by-token"
token = { issuer = "contoso", client = "6f1c" }
require = "all"
[[clients.grants]]
models = ["*"]
operations = ["*"]
[[clients]]
name = "by-another"
token = { issuer = "entra", client = "6f1c" }
[[clients.grants]]
models = ["*"]
operations = ["*"]
"""


def with_issuers(old: str = "", new: str = "") -> str:
    text = ISSUER + CLIENT
    assert old in text
    return VALID.replace("[credentials.gateway]", text.replace(old, new, 1) + "[credentials.gateway]", 1)


def test_a_valid_file(judge: Judge) -> None:
    assert judge(with_issuers()) == []


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("https://login.example/tenant", "http://login.example/tenant", 'issuers[0].issuer: "http://login.example/tenant/v2.0" is not https'),
        ("https://login.example/tenant", "http://127.0.0.1/tenant", 'issuers[0].issuer: "http://127.0.0.1/tenant/v2.0" is not https'),
        ("https://login.example/tenant/v2.0", "tenant", 'issuers[0].issuer: "tenant" is no URL'),
        ("https://login.example/keys", "http://login.example/keys", 'issuers[0].jwks: "http://login.example/keys" is not https'),
        ("https://login.example/keys", "https://u:hunter2@login.example/", "issuers[0].jwks: has a user name, a query or a fragment in it"),
        ("https://login.example/keys", "https://login.example/?a", "issuers[0].jwks: has a user name, a query or a fragment in it"),
        ("https://login.example/keys", "https://[::1", "issuers[0].jwks: is no URL"),
        ('"PS512"', '"HS256"', 'issuers[0].algorithms[1]: "HS256"; one of: ES256, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256'),
        ('"PS512"', '"none"', 'issuers[0].algorithms[1]: "none"; one of'),
        ('["RS256", "PS512", "ES384", "EdDSA"]', "[]", "issuers[0].algorithms: empty; name at least one"),
        ('["api://penstock"]', "[]", "issuers[0].audiences: empty; name at least one"),
        ('["api://penstock"]', '[""]', "issuers[0].audiences: has an empty text in it"),
        ('["azp", "appid"]', "[]", "issuers[0].client_claim: empty"),
        ('["azp", "appid"]', '["azp", ""]', "issuers[0].client_claim: has an empty text in it"),
        ('user_claim = "oid"', 'user_claim = ""', "issuers[0].user_claim: empty"),
        ('["b", "c"]', "[]", "issuers[0].required_claims.groups: empty"),
        ('tid = "a"', 'tid = ""', "issuers[0].required_claims.tid: empty"),
        ("server-root.pem", "server.key", "issuers[0].ca: DIR/server.key holds no certificate that can be read"),
        ('leeway = "0s"', 'leeway = "1h"', "issuers[0].leeway: 3600 s; clocks differ by less"),
        ('refresh = "10m"', 'refresh = "2d"', "issuers[0].refresh: 172800 s"),
        ('refetch_interval = "5s"', 'refetch_interval = "1h"', "issuers[0].refetch_interval: longer than refresh"),
        ('refetch_interval = "5s"', 'refetch_interval = "0s"', "issuers[0].refetch_interval: 0; give more than 0"),
        ('name = "entra"', 'name = "contoso"', 'issuers: "contoso" is there 2 times'),
        ('name = "entra"', 'name = "a\\nb"', "issuers[1].name: "),
        ("{tenantid}/v2.0", "{tenantid}/{tenantid}", "issuers[1].issuer: has {tenantid} more than once"),
        ("{tenantid}", "{tenant}", 'issuers[1].issuer: "https://login.microsoftonline.com/{tenant}/v2.0" is no URL'),
        ("{tenantid}", "common", "issuers[1].tenants: set, and issuer has no {tenantid}"),
        ('tenants = ["aaaaaaaa-0000-0000-0000-000000000001", "contoso.example"]', "", "issuers[1].tenants: empty"),
        ('"contoso.example"', '"a/../b"', 'issuers[1].tenants[1]: "a/../b"'),
        ('"contoso.example"', '"aaaaaaaa-0000-0000-0000-000000000001"', "issuers[1].tenants: too many, or one twice"),
        ("https://login.example/tenant/v2.0", "https://login.microsoftonline.com/contoso.example/v2.0", "issuers[1].issuer: issuers[0] has it too"),
        ('issuer = "contoso", client', 'issuer = "fabrikam", client', 'clients[2].token.issuer: "fabrikam" is not defined; one of: contoso, entra'),
        ('client = "6f1c"', 'client = ""', "clients[2].token.client: empty"),
        ('issuer = "entra", client', 'issuer = "contoso", client', 'clients[3].token: "by-another" and "by-token" (clients[2]) could be named by one credential'),
    ],
)  # fmt: skip
def test_what_is_wrong(judge: Judge, old: str, new: str, line: str) -> None:
    found = judge(with_issuers(old, new))
    assert any(entry.startswith(line) for entry in found), found
    assert "hunter2" not in "".join(found)
