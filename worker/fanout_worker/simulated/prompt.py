"""What a request says, and the words that a simulated answer is made of."""

from __future__ import annotations

import re
from functools import cached_property

from fanout_worker.simulated.dice import Dice

# Long documents answer from their beginning: an answer costs the same whatever the prompt's length.
_MATERIAL_CHARACTERS = 6000
_MAX_ANSWER_WORDS = 55
_INSTRUCTION = re.compile(r"\A[^\n]{0,400}:[ \t]*\n\s*(?=\S)")
_WORD = re.compile(r"[^\W\d_][\w'-]{1,22}[^\W_]")
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n\s*\n")
_RULE = re.compile(r"^[ \t]*[-=*_]{3,}[ \t]*$", re.MULTILINE)
_DULL_WORDS = """
about also been from have here into just more only other over some such than that their them then there these
they this those used using very what when where which while will with within without would your
"""
_DULL = frozenset(_DULL_WORDS.split())


class Prompt:
    """The system message and the text an answer is to be about."""

    def __init__(self, system: str, text: str, seed: int = 0) -> None:
        self.system = system.strip()
        self.text = text.strip()
        self._seed = str(seed)

    def dice(self, *purpose: str) -> Dice:
        """Choices that depend on this prompt only."""
        return Dice(self._seed, self.system, self.text, *purpose)

    @cached_property
    def material(self) -> str:
        """The text without a leading instruction ("Summarize:")."""
        return _INSTRUCTION.sub("", self.text[: _MATERIAL_CHARACTERS + 400], count=1)[:_MATERIAL_CHARACTERS]

    @cached_property
    def words(self) -> list[str]:
        """Words for labels and phrases, the telling ones if there are any; never empty."""
        words = _WORD.findall(self.material)
        telling = [word for word in words if len(word) > 3 and word.lower() not in _DULL]
        return telling or words or ["nothing"]

    def extract(self) -> str:
        """A few sentences of the text, chosen by its hash: at most about sixty words."""
        sentences = [" ".join(part.split()) for part in _SENTENCE_END.split(_RULE.sub("\n", self.material))]
        # A section's number is no sentence, unless there is nothing else.
        sentences = [one for one in sentences if one.count(" ") > 1] or [one for one in sentences if one]
        if not sentences:
            return "There is nothing to say."
        dice = self.dice("extract")
        chosen = {0} | {dice.below(len(sentences)) for _ in range(2)}
        words = " ".join(sentences[i] for i in sorted(chosen)).split(" ")
        if len(words) > _MAX_ANSWER_WORDS:
            return " ".join(words[:_MAX_ANSWER_WORDS]).rstrip(",;:") + " …"
        return " ".join(words)

    def phrase(self, dice: Dice, words: int) -> str:
        """`words` words of the text."""
        return " ".join(dice.pick(self.words) for _ in range(words))


def estimate_tokens(text: str) -> int:
    """Four bytes to a token: what a simulated model counts, in place of a tokenizer."""
    return max(1, -(-len(text.encode("utf-8", "surrogatepass")) // 4))


def cut_to_tokens(text: str, tokens: int) -> str:
    """The beginning of `text` that is `tokens` long by `estimate_tokens`."""
    return text.encode("utf-8", "surrogatepass")[: tokens * 4].decode("utf-8", "ignore")
