"""Token estimates."""

import pytest

from fanout.planning.tokens import estimate


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 1), ("a", 1), ("abcd", 1), ("abcde", 2), ("漢字漢字", 3), ("\ud800", 1)]
)
def test_one_token_per_four_bytes(text: str, tokens: int) -> None:
    assert estimate(text) == tokens
