"""What stands between a word and a finding, or between two findings: whether what is said goes on or begins anew."""

from collections.abc import Sequence
from typing import NamedTuple

from phenolip.phenokg.linking.words import Separator

_PREPOSITIONS = frozenset(
    """of in at within on over overlying involving along near throughout projecting about around beneath above
    below behind affecting across through under inside""".split()
)
_CONJUNCTIONS = frozenset("and or nor".split())
_LINKS = frozenset(
    """is are was were be been being has have had show shows showed showing demonstrate demonstrates demonstrated
    demonstrating there appears appear appeared remains remain contains seems""".split()
)
# Words that end what is said of a finding; the finding that follows is another matter.
_ENDS = frozenset(
    """with without but however although though which who while whereas otherwise no not from by because since
    except than that these this if for""".split()
)
# Words that say what a finding may be: the explanation is where the finding is.
_EXPLAINS = frozenset(
    """consistent compatible represent represents representing represented suggest suggests suggesting suggestive
    likely reflect reflects reflecting reflective due secondary related relating versus vs concerning suspicious
    possibly probably possible probable presumably may could might perhaps indicate indicates indicating
    relates""".split()
)
# In de-identified reports, what is masked between two findings is most often "likely" or "which may represent".
_MASKS = frozenset(("xxxx", "___"))
_ADJOINS = frozenset("adjacent associated underlying accompanying superimposed compressive".split())
_FILLERS = frozenset("a an the some any its both there noted seen again".split())
_MAX_BETWEEN = 6  # words between a modifier and its finding


class Gap(NamedTuple):
    """What stands between two places: words that are neither of a finding nor a modifier, and punctuation.

    Attributes:
        num_words: That say something of their own.
        has_comma: Or a bracket, or a slash.
        has_conjunction: "and", "or", "nor".
        has_or: The choice is between both sides: "or", a slash, "versus".
        has_preposition: Such as "in".
        begins_with_with: "with" and nothing else that ends a statement.
        has_link: A verb that says what a finding is, or that it is there.
        has_end: What is said of the finding before it ends.
        has_explanation: The finding behind it is what the one before it may be.
        is_same_place: The finding behind it is where the one before it is.
    """

    num_words: int
    has_comma: bool
    has_conjunction: bool
    has_or: bool
    has_preposition: bool
    begins_with_with: bool
    has_link: bool
    has_end: bool
    has_explanation: bool
    is_same_place: bool

    @property
    def in_phrase(self) -> bool:
        """Whether a preposition joins both sides, as in "opacity in the base"."""
        return self.has_preposition and not self.has_link

    @property
    def is_adjectival(self) -> bool:
        """Whether only adjectives can be between: both sides are of one noun phrase."""
        breaks = self.has_comma or self.has_conjunction or self.has_preposition or self.has_link or self.has_end
        return not breaks and not self.has_explanation and self.num_words <= _MAX_BETWEEN


def read_gap(words: Sequence[str], separators: Sequence[int]) -> Gap:
    """What stands between two places.

    Args:
        words: Between them, in lower case, without those of findings and modifiers.
        separators: Of the words, and of what comes behind them, as `Separator`.
    """
    slash = Separator.SLASH in separators
    return Gap(
        num_words=sum(word not in _FILLERS for word in words),
        has_comma=Separator.COMMA in separators or Separator.BRACKET in separators or slash,
        has_conjunction=not _CONJUNCTIONS.isdisjoint(words),
        has_or=slash or "or" in words or "versus" in words,
        has_preposition=not _PREPOSITIONS.isdisjoint(words),
        begins_with_with=words[:1] == ["with"] and _ENDS.isdisjoint(words[1:]),
        has_link=not _LINKS.isdisjoint(words),
        has_end=not _ENDS.isdisjoint(words),
        has_explanation=not _EXPLAINS.isdisjoint(words),
        is_same_place=any(not kind.isdisjoint(words) for kind in (_EXPLAINS, _ADJOINS, _MASKS)),
    )
