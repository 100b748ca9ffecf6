"""A share of requests is at most all of them."""

from tests.config.conftest import VALID, Judge


def test_no_more_than_all_requests_are_hedged(judge: Judge) -> None:
    text = VALID + '[routing.hedging]\nafter = "2s"\nratio = '
    assert judge(text + "1.0") == []
    assert judge(text + "1.5") == ["routing.hedging.ratio: 1.5; give a share of at most 1"]
