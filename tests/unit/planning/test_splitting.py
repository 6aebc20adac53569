"""Nothing of a text is lost or repeated, wherever it is cut."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.planning.sandbox.split import Splitter
from fanout.planning.sandbox.split.pattern import PatternError

TEXTS = st.text(st.sampled_from("ab .\n\r\t#é漢\u0301👍"), max_size=300) | st.text(max_size=100)
PATTERNS = st.sampled_from(
    [r"^#", r"^", r"$", r"a*", r"\n\n", r".", r"(?i)B", r"\b", r"^\s*", "é|漢", r"\z", r"(?s).*"]
)


def chunks(splitter: Splitter, text: str) -> list[str]:
    return [chunk for _, chunk in splitter.split(text)]


@given(TEXTS, st.sampled_from(["Item", "Paragraph", "Pattern"]), PATTERNS)
def test_the_chunks_are_the_text(text: str, by: str, pattern: str) -> None:
    made = chunks(Splitter(by, pattern=pattern), text)
    assert "".join(made) == text
    assert made == [text] or all(made)


@settings(max_examples=30, deadline=None)
@given(TEXTS, st.sampled_from(["Item", "Paragraph", "Pattern", "Tokens"]), PATTERNS, st.integers(1, 20))
def test_the_chunks_are_the_text_with_a_limit_too(text: str, by: str, pattern: str, max_tokens: int) -> None:
    made = chunks(Splitter(by, pattern=pattern, max_tokens=max_tokens), text)
    assert "".join(made) == text
    assert made == [text] or all(made)


@pytest.mark.parametrize("by", ["Item", "Paragraph", "Pattern", "Tokens"])
@pytest.mark.parametrize("text", ["", " ", "\n\n\n", " \t\r\n" * 50])
def test_an_empty_text_is_one_chunk(by: str, text: str) -> None:
    assert next(iter(Splitter(by, pattern="^", max_tokens=1).split(text)))[0] == ""
    assert chunks(Splitter(by, pattern="^"), text) == [text]


def test_paragraphs() -> None:
    text = "\n\nfirst\nstill\n\n  \n\nsecond\n\n"
    assert chunks(Splitter("Paragraph"), text) == ["\n\nfirst\nstill\n\n  \n\n", "second\n\n"]


class TestPattern:
    def test_chunks_begin_at_matches_with_their_lines_as_titles(self) -> None:
        text = "About\n\n# One\ntext\n# Two \nmore\n"
        assert list(Splitter("Pattern", pattern="^# ").split(text)) == [
            ("About", "About\n\n"),
            ("# One", "# One\ntext\n"),
            ("# Two", "# Two \nmore\n"),
        ]

    def test_space_before_the_first_match_belongs_to_it(self) -> None:
        assert list(Splitter("Pattern", pattern="^# ").split("\n \n# One\n# Two")) == [
            ("# One", "\n \n# One\n"),
            ("# Two", "# Two"),
        ]

    def test_a_match_in_the_middle_of_a_line_has_the_whole_line_as_title(self) -> None:
        assert list(Splitter("Pattern", pattern="two").split("one two three\n")) == [
            ("one two three", "one "),
            ("one two three", "two three\n"),
        ]

    def test_no_match(self) -> None:
        assert list(Splitter("Pattern", pattern="^#").split("\n title \nx")) == [("title", "\n title \nx")]

    def test_offsets_are_characters(self) -> None:
        assert chunks(Splitter("Pattern", pattern="^é"), "漢字👍\né\né") == ["漢字👍\n", "é\n", "é"]

    def test_parts_of_a_large_piece_keep_its_title(self) -> None:
        text = "# One\n" + "many words here. " * 40 + "\n# Two\nfew"
        pieces = list(Splitter("Pattern", pattern="^# ", max_tokens=30).split(text))
        assert len(pieces) > 3
        assert [title for title, _ in pieces[:-1]] == ["# One"] * (len(pieces) - 1)
        assert pieces[-1] == ("# Two", "# Two\nfew")

    @pytest.mark.parametrize(
        ("pattern", "message"),
        [("(a", "missing )"), ("a{1,100000}", "repetition"), (r"(?=a)", "perl"), ("\\", "trailing")],
    )
    def test_a_pattern_that_is_none(self, pattern: str, message: str) -> None:
        with pytest.raises(PatternError, match=r"split\.pattern is no RE2 expression") as error:
            Splitter("Pattern", pattern=pattern)
        assert message in str(error.value)

    def test_a_pattern_that_would_stall_others(self) -> None:
        assert len(Splitter("Pattern", pattern="(a*)*b").split("a" * 20_000)) == 1

    def test_long_titles_are_cut(self) -> None:
        title, _ = next(iter(Splitter("Pattern", pattern="x").split("x" * 2000)))
        assert title == "x" * 500


class TestTokens:
    WORDS = "The quick brown fox jumps over the lazy dog. "

    def test_at_most_so_many_tokens(self) -> None:
        # Each of these words is one token, with the space before it.
        made = chunks(Splitter("Tokens", max_tokens=10), " word" * 95)
        assert max(chunk.count("word") for chunk in made) == 10
        assert len(made) == 10

    def test_cut_at_sentences(self) -> None:
        made = chunks(Splitter("Tokens", max_tokens=25), self.WORDS * 20)
        assert all(chunk.rstrip().endswith(".") for chunk in made)

    def test_what_fits_is_not_cut(self) -> None:
        assert chunks(Splitter("Tokens", max_tokens=1000), self.WORDS * 20) == [self.WORDS * 20]

    def test_windows_do_not_show(self) -> None:
        text = "".join(f"{self.WORDS * (i % 7)}\n\n" for i in range(60))
        starts = {0}
        for chunk in chunks(Splitter("Tokens", max_tokens=40), text):
            starts.add(max(starts) + len(chunk))
        assert len(text) > 5 * 1024
        assert all(text[at - 1].isspace() or text[at].isspace() for at in starts - {0, len(text)})
        assert all(after > before for before, after in pairwise(sorted(starts)))
