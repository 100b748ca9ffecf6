"""Which matches one certificate could meet, as a table; and that clients are found to clash exactly by it."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.overlap import Clash, clashes, overlap
from proxy.config.structs import CertificateMatch, Client

M = CertificateMatch
CA, OTHER = "CN=CA,O=Contoso", "CN=Other"

TABLE = [
    ("the same", M(san_uri=("a",)), M(san_uri=("a",)), True),
    ("the same thumbprint", M(thumbprints=("sha256:ab",)), M(thumbprints=("sha256:AB",)), True),
    ("other thumbprints", M(thumbprints=("sha256:ab",)), M(thumbprints=("sha256:cd",)), False),
    ("one name of several", M(san_dns=("a", "b")), M(san_dns=("B", "c")), True),
    ("URIs in another case", M(san_uri=("a",)), M(san_uri=("A",)), False),
    ("other issuers", M(issuer=CA, san_uri=("a",)), M(issuer=OTHER, san_uri=("a",)), False),
    ("an issuer spelled otherwise", M(issuer="2.5.4.3=CA,O=Contoso"), M(issuer=CA), True),
    ("the same issuer, other names", M(issuer=CA, san_uri=("a",)), M(issuer=CA, san_uri=("b",)), False),
    ("an issuer and one it may have issued", M(issuer=CA), M(issuer=CA, san_uri=("a",)), True),
    ("an issuer and anyone's name", M(issuer=CA), M(san_uri=("a",)), True),
    ("an issuer and another's name", M(issuer=CA), M(issuer=OTHER, san_uri=("a",)), False),
    ("a name with and without issuer", M(issuer=CA, san_uri=("a",)), M(san_uri=("a",)), True),
    ("a shared name with more beside it", M(san_uri=("a",), subject="CN=x"), M(san_uri=("a",), san_dns=("d",)), True),
    ("a shared name, other subjects", M(san_uri=("a",), subject="CN=x"), M(san_uri=("a",), subject="CN=y"), False),
    ("names of different kinds", M(issuer=CA, san_uri=("a",)), M(issuer=CA, san_dns=("d",)), False),
    ("other serials", M(issuer=CA, serials=("0a",)), M(issuer=CA, serials=("0b",)), False),
    ("a serial spelled otherwise", M(issuer=CA, serials=("00:0A",)), M(issuer=CA, serials=("a",)), True),
    ("what is no name", M(subject="nonsense"), M(subject="nonsense"), True),
]


@pytest.mark.parametrize(("one", "other", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_overlap(one: CertificateMatch, other: CertificateMatch, expected: bool) -> None:
    assert overlap(one, other) is expected
    assert overlap(other, one) is expected


few = st.lists(st.sampled_from(["a", "b", "c"]), max_size=2).map(tuple)
some_match = st.builds(
    CertificateMatch, issuer=st.sampled_from([None, CA, OTHER]), san_uri=few, san_dns=few, thumbprints=few
)


@given(st.lists(st.none() | some_match, max_size=8))
def test_each_client_is_held_against_the_first_it_overlaps_with(matches: list[CertificateMatch | None]) -> None:
    clients = [Client(name=str(index), certificate=match) for index, match in enumerate(matches)]
    firsts: dict[int, int] = {}
    for (i, one), (j, other) in combinations(enumerate(matches), 2):
        if one is not None and other is not None and overlap(one, other):
            firsts[j] = min(i, firsts.get(j, i))
    assert list(clashes(clients)) == [Clash(first, second, "certificate") for second, first in sorted(firsts.items())]


def test_keys_shared_between_clients() -> None:
    clients = [
        Client(name=name, key_hashes=hashes) for name, hashes in (("a", ("X", "y")), ("b", ("z",)), ("c", ("Y",)))
    ]
    assert list(clashes(clients)) == [Clash(0, 2, "key_hashes")]


def test_many_clients_are_not_compared_each_with_each() -> None:
    clients = [
        Client(name=str(i), certificate=M(issuer=CA, san_uri=(f"spiffe://contoso/{i}",)), key_hashes=(f"sha256:{i}",))
        for i in range(20_000)
    ]
    assert list(clashes(clients)) == []
