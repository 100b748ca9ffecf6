"""What the types cannot say, as a table: one thing wrong with a valid file, and the line that says so."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certs.pki import Pki
from proxy.config import pem
from proxy.config.load import parse
from proxy.config.structs import Bounds, Breaker, Limits
from proxy.config.validate import problems
from tests.config.conftest import MINIMAL, VALID, Judge, changed

LISTENING = '["127.0.0.1:8443", "[::1]:8443"]'
HASH = "sha256:" + "0" * 63 + "1"
ADDRESS = 'give an address and a port: "127.0.0.1:8443", "[::]:8443"'
HTTPS = 'give "https://" and a host, and nothing after it'


def in_vault(address: str, name: str) -> str:
    """The valid file with its certificate in a vault."""
    pair = 'certificate = "server.pem"\nprivate_key = "server.key"'
    return changed(pair, f'certificate = {{ key_vault = "{address}", name = "{name}" }}')


TABLE = [
    # addresses
    (changed(LISTENING, '"8443"'), f'listen.address: "8443"; {ADDRESS}'),
    (changed(LISTENING, '"::1:8443"'), f'listen.address: "::1:8443"; {ADDRESS}'),
    (changed(LISTENING, '"*:8443"'), f'listen.address: "*:8443"; {ADDRESS}'),
    (changed(LISTENING, '":8443"'), f'listen.address: ":8443"; {ADDRESS}'),
    (changed(LISTENING, '"localhost:65536"'), f'listen.address: "localhost:65536"; {ADDRESS}'),
    (changed(LISTENING, "[]"), 'listen.address: empty; give an address such as "0.0.0.0:8443"'),
    (
        changed(LISTENING, '"127.0.0.1:8080"'),
        'listen.address: "127.0.0.1:8080" is given 2 times; listen, health and admin need their own',
    ),
    (
        changed("[listen.bounds]", 'trusted_proxies = ["10.0.0.1/8"]\n[listen.bounds]'),
        'listen.trusted_proxies[0]: "10.0.0.1/8"; give a network such as "10.0.0.0/8"',
    ),
    (
        MINIMAL.replace("[listen]", '[listen]\ntrusted_proxies = ["10.0.0.0/8"]'),
        'listen.trusted_proxies: set, while listen.client_certificates.mode is "off"; set that to "optional"',
    ),
    (changed('"x-team"', '"client-cert"'), 'forward.headers: "client-cert"; name headers that are neither'),
    # numbers
    (changed('head = "1.5s"', 'head = "0s"'), "listen.bounds.head: 0; give more than 0"),
    (changed('head = "1.5s"', "headers = -1"), "listen.bounds.headers: -1; give more than 0"),
    (changed("600", "0"), "clients[0].limits.requests_per_minute: 0; give more than 0"),
    (changed("600", str(1 << 64)), "clients[0].limits.requests_per_minute: too large a number; give at most"),
    (changed("weight = 3", "weight = 0"), "models[0].deployments[1].weight: 0; give more than 0"),
    (changed("weight = 3", "priority_ = 0"), "models[0].deployments[1].priority_: unknown key; did you mean priority?"),
    (changed("priority = 1", "priority = -1"), "models[0].deployments[1].priority: -1; give 0 or more"),
    (changed('"20m"', '"0ms"'), "models[0].first_byte: 0; give more than 0"),
    (
        changed("[listen.bounds]", "workers = 1025\n[listen.bounds]"),
        "listen.workers: too large a number; give at most",
    ),
    (changed('user = "none"', "keep = -1"), "audit.keep: -1; give 0 or more"),
    (VALID + "[routing]\nattempts = 0\n", "routing.attempts: 0; give more than 0"),
    (
        changed('json_body = "16MiB"', 'json_body = "300MiB"'),
        "listen.bounds.json_body: larger than listen.bounds.body; give at most as much",
    ),
    # certificates of the gateway
    (
        changed('"server.pem"', '"absent.pem"'),
        "listen.certificate: DIR/absent.pem cannot be read (No such file or",
    ),
    (
        changed('"server.pem"', '"server.key"'),
        "listen.certificate: DIR/server.key holds no certificate that can be",
    ),
    (
        changed('"server.pem"', '"a\\u0000b"'),
        r"listen.certificate: DIR/a\x00b is not a file's name; name a readable",
    ),
    (changed('"server.pem"', '"expired.pem"'), "listen.certificate: DIR/expired.pem expired on "),
    (changed('"server.pem"', '"not-yet-valid.pem"'), "listen.certificate: DIR/not-yet-valid.pem is not valid before "),
    (
        changed('"server.key"', '"absent.key"'),
        "listen.private_key: DIR/absent.key cannot be read (No such file or",
    ),
    (changed('"server.key"', '"server.pem"'), "listen.private_key: DIR/server.pem holds no private key; give PEM"),
    (
        changed('"server.key"', '"mock.key"'),
        "listen.private_key: DIR/mock.key is not the key of the first certificate in DIR/server.pem; give the leaf",
    ),
    (
        changed('private_key = "server.key"\n', ""),
        "listen.private_key: missing; name the PEM file with the certificate",
    ),
    (changed('"mock.key"', '"server.key"'), "listen.certificates[0].private_key: DIR/server.key is not the key of the"),
    # certificates of clients
    (
        changed('roots = ["client-root.pem"]\n', ""),
        'listen.client_certificates.roots: missing; mode "optional" needs the roots clients are issued under',
    ),
    (
        changed('"client-root.pem"', '"client-intermediate.pem"'),
        "listen.client_certificates.roots: DIR/client-intermediate.pem holds one that is not self-signed; only roots",
    ),
    (
        changed('"client-root.pem"', '"turbine-7.pem"'),
        "listen.client_certificates.roots: DIR/turbine-7.pem holds a certificate that is no authority; list the roots",
    ),
    (
        changed('"client-intermediate.pem"', '"client-root.pem"'),
        "listen.client_certificates.intermediates: DIR/client-root.pem holds a self-signed certificate; an anchor",
    ),
    (
        changed('"client-intermediate.pem"', '"turbine-7.pem"'),
        "listen.client_certificates.intermediates: DIR/turbine-7.pem holds a certificate that is no authority; list",
    ),
    (
        changed('mode = "optional"', ""),
        'listen.client_certificates.roots: set, while mode is "off"; set mode to "optional" or "required"',
    ),
    (changed('mode = "optional"', ""), 'clients[0].certificate: set, while listen.client_certificates.mode is "off"; '),
    # revocation
    (
        changed('mode = "optional"', 'mode = "optional"\nrevocation = "hard"'),
        'listen.client_certificates.revocation: "hard", and nothing to tell it by; give crls, or ocsp = "aia" or a',
    ),
    (
        changed('mode = "optional"', 'mode = "optional"\nocsp = "ldap://x"'),
        'listen.client_certificates.ocsp: is neither a mode nor an address; give "off", "aia" or "http://…"',
    ),
    (
        changed('mode = "optional"', 'mode = "optional"\nocsp = "aia"\nocsp_allow = ["ten"]'),
        'listen.client_certificates.ocsp_allow[0]: "ten"; give a network',
    ),
    (
        changed('mode = "optional"', 'mode = "optional"\nocsp_allow = ["10.0.0.0/8"]'),
        'listen.client_certificates.ocsp_allow: set; it is for ocsp = "aia": leave it out',
    ),
    (
        changed('mode = "optional"', 'mode = "optional"\ncrls = ["absent.crl"]'),
        "listen.client_certificates.crls[0]: DIR/absent.crl cannot be read",
    ),
    (
        changed('mode = "optional"', 'mode = "optional"\ncrls = ["server.pem"]'),
        "listen.client_certificates.crls[0]: DIR/server.pem holds no CRL that can be read; give whole CRLs, PEM or DER",
    ),
    (
        changed('mode = "optional"', 'mode = "optional"\ncrls = ["http://me:x@pki/"]'),
        "listen.client_certificates.crls[0]: is no address; give",
    ),
    (
        changed('san_dns = ["billing.contoso.example"]', 'issuer = "CN=B", serials = ["0x1"]'),
        'clients[1].certificate.serials[0]: "0x1"; give hex digits',
    ),
    (
        changed('san_dns = ["billing.contoso.example"]', 'serials = ["1a"]'),
        "clients[1].certificate.issuer: missing; a serial is one issuer's own: name the issuer",
    ),
    # the admin address
    (
        changed("[admin]", '[admin]\naddress = "0.0.0.0:9443"'),
        "admin.roots: missing; 0.0.0.0:9443 is not loopback: give certificate, private_key and roots",
    ),
    (
        changed("[admin]", '[admin]\ncertificate = "server.pem"\nprivate_key = "server.key"'),
        "admin.roots: missing; certificate is set: give certificate, private_key and roots",
    ),
    (
        changed(
            "[admin]", '[admin]\ncertificate = "server.pem"\nprivate_key = "mock.key"\nroots = ["client-root.pem"]'
        ),
        "admin.private_key: DIR/mock.key is not the key of",
    ),
    (
        changed("[admin]", '[admin]\ncertificate = "server.pem"\nprivate_key = "server.key"\nroots = ["billing.pem"]'),
        "admin.roots: DIR/billing.pem holds a certificate that is no authority",
    ),
    # secrets and credentials
    (
        changed('{ file = "state/admin.token" }', "{}"),
        'admin.token: a secret needs exactly one of env and file; give { env = "NAME" } or { file = "path" }, with',
    ),
    (
        changed("[audit]", '[state]\npepper = { env = "PENSTOCK_TEST_SECRET" }\n[audit]'),
        "state.pepper: the environment variable PENSTOCK_TEST_SECRET is not set or empty; give",
    ),
    (
        changed('{ file = "azure.key" }', '{ file = "absent" }'),
        "credentials.keyed.key: DIR/absent cannot be read (No such file or directory); give",
    ),
    (changed('key = { file = "azure.key" }\n', ""), 'credentials.keyed.key: missing; kind "api_key" needs it'),
    (
        changed('kind = "managed_identity"', 'kind = "managed_identity"\nca = "server-root.pem"'),
        'credentials.gateway.ca: set; kind "managed_identity" makes no use of it: leave it out',
    ),
    (
        changed('kind = "api_key"', 'kind = "api_key"\nscope = "https://other"'),
        'credentials.keyed.scope: set; kind "api_key" makes no use of it: leave it out',
    ),
    (
        changed('kind = "managed_identity"', 'kind = "client_secret"'),
        'credentials.gateway.secret: missing; kind "client_secret" needs it',
    ),
    (
        changed('kind = "managed_identity"', 'kind = "client_secret"\nauthority = "http://login.example"'),
        'credentials.gateway.authority: "http://login.example" is not https; give "https://" and a host',
    ),
    (changed("credentials.keyed", "credentials.''"), 'credentials."": ""; use letters, digits and . _ : @ - (at most'),
    # backends
    (changed('"https://aoai-swc', '"http://aoai-swc'), 'backends[0].url: "http://aoai-swc.openai.azure.com" is not'),
    (
        changed("azure.com/", "azure.com/openai"),
        'backends[1].url: "https://aoai-fra.openai.azure.com/openai" has a path',
    ),
    (
        changed("azure.com/", "azure.com/?sig=x"),
        f"backends[1].url: has a user name, a query or a fragment in it; {HTTPS}",
    ),
    (changed("aoai-swc.", "me:x@aoai-swc."), f"backends[0].url: has a user name, a query or a fragment in it; {HTTPS}"),
    (changed("azure.com/", "azure.com:0"), 'backends[1].url: "https://aoai-fra.openai.azure.com:0" has port 0; '),
    (changed("azure.com/", "azure.com:port"), f"backends[1].url: is no URL; {HTTPS}"),
    (changed("https://aoai-fra.openai.azure.com/", "https://"), 'backends[1].url: "https://" is no URL; '),
    (changed('region = "francecentral"', 'region = "a\\nb"'), r'backends[1].region: "a\nb"; use letters, digits and'),
    (
        changed('credential = "keyed"', 'credential = "kyed"'),
        'backends[1].credential: "kyed" is not defined; one of: gateway, keyed',
    ),
    (changed('name = "fra"', 'name = "swc"'), 'backends: "swc" is there 2 times; give each its own name'),
    (
        changed('"server-root.pem"', '"server.key"'),
        "backends[0].ca: DIR/server.key holds no certificate that can be",
    ),
    (changed('"server-root.pem"', '"expired-root.pem"'), "backends[0].ca: DIR/expired-root.pem cannot be read"),
    # models
    (
        changed('backend = "fra"', 'backend = "fro"'),
        'models[0].deployments[1].backend: "fro" is not defined; one of:',
    ),
    (changed('"o200k_base"', '"p50k"'), 'models[0].tokenizer: "p50k"; one of: cl100k_base, o200k_base'),
    (
        changed('name = "text-embedding-3-small"', 'name = "gpt-4o"'),
        'models: "gpt-4o" is there 2 times; give each its ',
    ),
    (
        changed('[{ backend = "swc", deployment = "embed" }]', "[]"),
        "models[1].deployments: empty; name at least one",
    ),
    (
        changed('backend = "fra"\ndeployment = "gpt-4o"', 'backend = "swc"\ndeployment = "gpt-4o-ptu"'),
        'models[0].deployments: "swc/gpt-4o-ptu" is there 2 times; give each its own name',
    ),
    (changed('deployment = "embed"', 'deployment = ""'), 'models[1].deployments[0].deployment: ""; use letters, '),
    # clients
    (
        changed('name = "billing"', 'name = "turbine-7"'),
        'clients: "turbine-7" is there 2 times; give each its own name',
    ),
    (changed('name = "billing"', 'name = "a/b"'), 'clients[1].name: "a/b"; use letters, digits and . _ : @ - (at most'),
    (
        changed('certificate = { san_dns = ["billing.contoso.example"] }\n', ""),
        'clients[1]: "billing" has no credential; give it certificate, token, keys or key_hashes',
    ),
    (
        changed(HASH, HASH[:-1]),
        'clients[0].key_hashes[0]: no hash; give "sha256:" and 64 hex digits: penstock keys hash',
    ),
    (changed(HASH, HASH.upper()), "clients[0].key_hashes[0]: no hash; give"),
    (changed(f'"{HASH}"', f'"{HASH}", "{HASH}"'), "clients[0].key_hashes[1]: given twice; leave one out"),
    (
        changed('name = "billing"', f'name = "billing"\nkey_hashes = ["{HASH}"]'),
        'clients[1].key_hashes: "billing" and "turbine-7" (clients[0]) could be named by one credential; give each a',
    ),
    (
        changed('san_dns = ["billing.contoso.example"]', 'issuer = "CN=Devices CA,O=Contoso"'),
        'clients[1].certificate: "billing" and "turbine-7" (clients[0]) could be named by one credential; give each',
    ),
    (
        changed('{ san_dns = ["billing.contoso.example"] }', "{}"),
        "clients[1].certificate: empty; one of: issuer,",
    ),
    (
        changed("CN=Devices CA,O=Contoso", "CN=Devices CA, O=Contoso"),
        'clients[0].certificate.issuer: "CN=Devices CA, O=Contoso"; give it in RFC 4514 form',
    ),
    (
        changed('san_dns = ["billing.contoso.example"]', 'thumbprints = ["sha256:ab"]'),
        'clients[1].certificate.thumbprints[0]: "sha256:ab"; give "sha256:" and 64 hex digits',
    ),
    (
        changed('regions = ["swedencentral"]', 'regions = ["northeurope"]'),
        'clients[0].regions: no backend is in "northeurope"; one of: francecentral, swedencentral',
    ),
    # grants
    (
        changed('"chat.completions", "embeddings"', '"chat"'),
        'clients[0].grants[0].operations: "chat" is no operation; one of: "*", audio.speech, ',
    ),
    (
        changed('"gpt-4o", "text-embedding-3-*"', '"gpt-5*"'),
        'clients[0].grants[0].models: no model matches "gpt-5*"; one of: gpt-4o, text-embedding-3-small',
    ),
    (changed('models = ["*"]\n', ""), "clients[1].grants[0].models: empty; a grant without it allows nothing"),
    (changed('operations = ["*"]\n', ""), "clients[1].grants[0].operations: empty; a grant without it allows nothing"),
    # forwarding
    (changed('"x-team"', '"Authorization"'), 'forward.headers: "Authorization"; name headers that are neither'),
    (changed('"x-team"', '"x team"'), 'forward.headers: "x team"; name headers'),
    (changed('"debug"', '"a&b"'), 'forward.query: "a&b"; name parameters by letters'),
    # vaults
    (
        in_vault("https://v.vault.azure.net/secrets/x", "gateway"),
        'listen.certificate.key_vault: "https://v.vault.azure.net/secrets/x" has a path; give "https://" and the',
    ),
    (
        in_vault("http://v.vault.azure.net", "gateway"),
        'listen.certificate.key_vault: "http://v.vault.azure.net" is not https; give "https://" and the vault\'s host',
    ),
    (
        in_vault("https://v.vault.azure.net", "gate/way"),
        'listen.certificate.name: "gate/way"; a vault\'s names are letters, digits and hyphens',
    ),
    (
        changed('"server.pem"', '{ key_vault = "https://v.vault.azure.net", name = "gateway" }'),
        "listen.private_key: set; the key comes from the vault with its certificate: leave it out",
    ),
    (
        in_vault("https://v.vault.azure.net", "gateway") + '[key_vault]\ncredential = "absent"',
        'key_vault.credential: "absent" is not defined; one of: gateway',
    ),
    (
        in_vault("https://v.vault.azure.net", "gateway") + '[key_vault]\ncredential = "keyed"',
        'key_vault.credential: "keyed" is an API key, which no vault takes; one of: gateway',
    ),
    (VALID + '[key_vault]\npoll = "10ms"', 'key_vault.poll: 0.01 s; give at least "1s": vaults throttle'),
    (VALID + '[key_vault]\nca = "absent.pem"', "key_vault.ca: DIR/absent.pem cannot be read"),
    # expiry
    (VALID + "[expiry]\nwarn_days = [30, 0]", 'expiry.warn_days: "30, 0"; give at most 16 numbers of days, each once'),
    (VALID + "[expiry]\nwarn_days = [7, 7]", 'expiry.warn_days: "7, 7"; give at most 16 numbers of days, each once'),
]


@pytest.mark.parametrize(("text", "says"), TABLE)
def test_one_thing_wrong(judge: Judge, text: str, says: str) -> None:
    lines = judge(text)
    assert any(line.startswith(says) for line in lines), lines


def test_a_certificate_in_a_vault(judge: Judge) -> None:
    assert judge(in_vault("https://v.vault.azure.net", "gateway") + '[key_vault]\npoll = "1m"') == []


def test_nothing_wrong(judge: Judge) -> None:
    assert judge(VALID) == []


def test_everything_wrong_is_told_at_once(judge: Judge) -> None:
    text = changed("weight = 3", "weight = 0").replace('"server.pem"', '"absent.pem"').replace('"x-team"', '"cookie"')
    keys = [line.partition(": ")[0] for line in judge(text)]
    assert keys == ["models[0].deployments[1].weight", "listen.certificate", "forward.headers"]


def test_a_number_less_than_its_bound_is_refused_wherever_there_is_one(pki: Pki, judge: Judge) -> None:
    for kind, place in ((Bounds, "listen.bounds"), (Breaker, "routing.breaker"), (Limits, "clients.limits")):
        for field in msgspec.structs.fields(kind):
            if field.name in ("priority", "tokens_per_day", "failure_delay"):
                continue
            is_duration = "Seconds" in str(field.type)
            text = MINIMAL if kind is not Limits else VALID.partition("[clients.limits]")[0]
            text += f"\n[{place}]\n{field.name} = {chr(34) + '0s' + chr(34) if is_duration else 0}\n"
            assert any(f"{field.name}: 0; give more than 0" in line for line in judge(text)), field.name


def test_certificates_are_judged_at_the_moment_that_is_given(pki: Pki) -> None:
    path = pki.directory / "later.toml"
    path.write_text(VALID)
    config = parse(path)
    assert list(problems(config, datetime.now(UTC))) == []
    later = {problem.key for problem in problems(config, datetime.now(UTC) + timedelta(days=100))}
    assert {"listen.certificate", "listen.client_certificates.roots", "backends[0].ca"} <= later


def test_an_admin_address_with_all_it_needs(judge: Judge) -> None:
    material = 'certificate = "server.pem"\nprivate_key = "server.key"\nroots = ["client-root.pem"]'
    assert judge(changed("[admin]", f'[admin]\naddress = "0.0.0.0:9443"\n{material}')) == []


def test_secrets_from_the_environment(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    text = changed('{ file = "azure.key" }', '{ env = "PENSTOCK_TEST_SECRET" }')
    assert judge(text) != []
    monkeypatch.setenv("PENSTOCK_TEST_SECRET", "hunter2")
    assert judge(text) == []


# Files of odd content.

NOW = datetime.now(UTC)


def self_signed(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, ends: timedelta = timedelta(days=1)) -> bytes:
    name = x509.Name.from_rfc4514_string("CN=odd")
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - timedelta(days=9), NOW + ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def private(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    protection = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def test_a_bundle_may_hold_what_has_run_out_but_not_only_that(tmp_path: Path) -> None:
    bundle, key = tmp_path / "ca.pem", ec.generate_private_key(ec.SECP256R1())
    bundle.write_bytes(self_signed(key, timedelta(days=-1)) + self_signed(key))
    assert list(pem.trust("ca", str(bundle), NOW)) == []
    bundle.write_bytes(self_signed(key, timedelta(days=-1)))
    assert [problem.key for problem in pem.trust("ca", str(bundle), NOW)] == ["ca"]


def test_trust_is_ascii(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes("# Főtanúsítvány\n".encode() + self_signed(ec.generate_private_key(ec.SECP256R1())))
    assert "characters beyond ASCII" in next(pem.trust("ca", str(bundle), NOW)).found


def test_a_key_that_needs_a_passphrase(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "c.pem").write_bytes(self_signed(key))
    (tmp_path / "k.pem").write_bytes(private(key, b"open sesame"))
    found = list(pem.pair("listen", str(tmp_path / "c.pem"), str(tmp_path / "k.pem"), NOW))
    assert [(problem.key, problem.remedy) for problem in found] == [("listen.private_key", "give a key without one")]


def test_an_rsa_key_too_small_to_be_served(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    (tmp_path / "c.pem").write_bytes(self_signed(key))
    assert "under 2048 bits" in next(pem.pair("listen", str(tmp_path / "c.pem"), None, NOW)).found
