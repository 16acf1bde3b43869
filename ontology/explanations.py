"""Texts that say what a finding is: made to follow "is", cut at sentences, and comments that are none told apart."""

import re
from collections.abc import Callable, Sequence

#: Ends of sentences; not the dot of "e.g.", "i.e." or an initial.
_SENTENCE_END = re.compile(r"(?<![ .(][A-Za-z][.])(?<=[.!?])\s(?=[A-Z])")
_SOURCE_NOTE = re.compile(r" ?[\[(](?:PMID|PMC|DOI|HPO|source)[^\[\]()]{0,300}[\])]", re.IGNORECASE)
_LOWERABLE = re.compile(r"(?:[A-Z][a-z]+(?:-[a-z]+)*|A)[,;:]?")
_IS = r"(?:is|are|refers to|means|denotes|describes)"
_THIS_TERM = re.compile(
    rf"(?:(?:this|the) (?:term|finding|feature|category|condition|sign|disorder)|it) {_IS}\s+", re.IGNORECASE
)
_IS_A = re.compile(r"(?P<subject>[^,;:.]{1,80}?) (?:is|are) (?P<rest>(?:an?|the|any) )")
_STEM = 5  # letters by which two words are taken for forms of one
_POINTING = re.compile(r"(?:this|these|it|they|see)\b|[^A-Za-z0-9]", re.IGNORECASE)  # begins no definition
_LONGEST_SUBJECT = 150  # characters
_ARTICLE = re.compile(r"(?:an? |the )?", re.IGNORECASE)
_IS_AFTER_SUBJECT = re.compile(rf"(?:e?s)?(?: \([^()]{{1,40}}\))?,? {_IS} (?=\S)", re.IGNORECASE)
#: A verb of the first clause: "The amount of iron is ...". What stands behind "that" or "which" is none.
_BRACKETED = re.compile(r" \([^()]*\)")
_CLAUSE = re.compile(r"[^,;:.()]*")
_RELATIVE = re.compile(
    r"\b(?:that|which|who|whom|whose|where|when|in|by|as|if|after|before|because|while)\b", re.IGNORECASE
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|can|may|could|should|will|does|do|include|includes|comprises|catalyzes)\b"
)
#: Words that no text ends with.
_DANGLING = frozenset(
    "a an the of in on at to from by with without and or but nor as than that which who whose where when into onto "
    "over under between within along near for is are be not no its their often usually".split()
)
#: What curators write to each other. Set on the 72 comments of terms of HPO 2025-01-16 that lack a definition.
_CURATION = re.compile(
    r"logical def|has part|inheres|https?:|github|ticket|\bcoded\b|\bremoved\b|\brequest|\bto ?do\b|replaced|"
    r"\b(?:P?MIM|OMIM|PMID|NCBI|UBERON|CL)\b|obsolete|hierarchy|delineation|can be (?:demonstrated|observed)|"
    r"is demonstrated by|specific feature of|other HPO|related to|referred to as",
    re.IGNORECASE,
)
_COMMENT_WORDS = (6, 80)  # a comment that is shorter says nothing, one that is longer tells a story


def as_predicate(text: str, name: str, synonyms: Sequence[str] = ()) -> str:
    """A definition as what follows "`name` is": without its subject, small first letter, no final stop.

    What is a statement of its own becomes "the finding that ...". Eponyms that begin a text lose their capital, since
    nothing tells them from other words (fewer than 20 of the 15,818 definitions of HPO 2025-01-16).

    Args:
        text: Definition or explanation.
        name: Of what it is about.
        synonyms: Other names by which the text may call it.

    Example:
        >>> as_predicate("A bleb is a small space in the pleura.", "Pulmonary bleb")
        'a small space in the pleura'
        >>> as_predicate("The amount of iron in the liver is too high.", "Liver iron")
        'the finding that the amount of iron in the liver is too high'
    """
    text = _SOURCE_NOTE.sub("", " ".join(text.split())).rstrip(" .;:,")
    if (bare := _without_subject(text, (name, *synonyms))) is not None:
        return lower_first(bare)
    return f"the finding that {lower_first(text)}" if is_statement(text) else lower_first(text)


def is_statement(text: str) -> bool:
    """Whether the first clause has a verb of its own, so that it cannot follow "is".

    Example:
        >>> is_statement("The amount of iron is low"), is_statement("An amount that is low")
        (True, False)
    """
    clause = _CLAUSE.match(_BRACKETED.sub("", text))[0]
    if text.startswith("the finding that ") or not (verb := _VERB.search(clause)):
        return False
    opening = clause[: verb.start()].strip()
    # "The amount of iron in the liver is ...": a place belongs to the subject, a relative clause takes the verb
    relatives = {word.lower() for word in _RELATIVE.findall(opening)} - {"in", "by", "as"}
    return bool(opening) and not relatives


def lower_first(text: str) -> str:
    """The text with a small first letter, unless its first word is an abbreviation, a letter or has an apostrophe.

    Example:
        >>> lower_first("A shadow"), lower_first("EEG waves"), lower_first("X-ray shadow"), lower_first("Crohn's sign")
        ('a shadow', 'EEG waves', 'X-ray shadow', "Crohn's sign")
    """
    first = text.split(" ", 1)[0]
    return text[:1].lower() + text[1:] if _LOWERABLE.fullmatch(first) else text


def shorten(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning that fits: of whole sentences if one fits, else of words; empty if none does.

    Args:
        text: Explanation.
        fits: Whether a beginning of it is short enough; of a shorter one true wherever it is of a longer one.

    Example:
        >>> shorten("a round shadow. It lies in the lung", lambda part: len(part.split()) <= 5)
        'a round shadow.'
    """
    if fits(text):
        return text
    ends = [match.start() for match in _SENTENCE_END.finditer(text)]
    if ends and (sentences := _longest(ends, lambda end: text[:end], fits)):
        return sentences
    return _longest([match.end() for match in re.finditer(r"\S+", text)], lambda end: _trimmed(text[:end]), fits)


def explains(comment: str, name: str) -> bool:
    """Whether a curator's comment says what the term is, and is no note on the curation or on something else.

    Example:
        >>> explains("A form of arthritis that moves from joint to joint.", "Migratory arthritis")
        True
        >>> explains("Related to ticket 484, see there for what was said.", "Plexus neuropathy")
        False
    """
    text = _SOURCE_NOTE.sub("", " ".join(comment.split()))
    low, high = _COMMENT_WORDS
    if _CURATION.search(text) or not low <= len(text.split()) <= high:
        return False
    bare = _without_subject(text, (name,))
    if bare is None and (is_statement(text) or _POINTING.match(text)):
        return False
    new_words = set(re.findall(r"[a-z]{3,}", text.lower())) - set(re.findall(r"[a-z]{3,}", name.lower()))
    return len(new_words - _DANGLING) >= 3


def _without_subject(text: str, names: Sequence[str]) -> str | None:
    """What follows "<name> is", "<last word of the name> is" or "this term refers to"; None otherwise."""
    if found := _THIS_TERM.match(text):
        return text[found.end() :]
    bare = text[_ARTICLE.match(text).end() :]
    lower = bare[:_LONGEST_SUBJECT].lower()
    for subject in {part.lower() for name in names for part in (name, *name.split()[-1:])}:
        if lower.startswith(subject) and (found := _IS_AFTER_SUBJECT.match(bare, len(subject))):
            return bare[found.end() :]
    return _of_a_like_subject(text, names)


def _of_a_like_subject(text: str, names: Sequence[str]) -> str | None:
    """ "a palsy of ..." of "Facial nerve palsy is a palsy of ...", where the subject and a name share a word."""
    found = _IS_A.match(text)
    if not found or not is_statement(text):
        return None
    stems = {word[:_STEM].lower() for name in names for word in name.split() if len(word) >= _STEM}
    shared = any(word[:_STEM].lower() in stems for word in found["subject"].split())
    return text[found.start("rest") :] if shared else None


def _longest(ends: list[int], piece: Callable[[int], str], fits: Callable[[str], bool]) -> str:
    """The longest piece that fits, by bisection; where `fits` is not monotone, one that does fit all the same."""
    low, high = 0, len(ends)  # the first `low` ends fit, `high` is the most that may
    while low < high:
        middle = (low + high + 1) // 2
        if fits(piece(ends[middle - 1])):
            low = middle
        else:
            high = middle - 1
    return piece(ends[low - 1]) if low else ""


def _trimmed(text: str) -> str:
    """Without the words at its end that lead on to what was cut off, nor an open bracket."""
    if text.count("(") > text.count(")"):
        text = text[: text.rindex("(")]
    words = text.split()
    while words and words[-1].strip(".,;:()").lower() in _DANGLING | {""}:
        words.pop()
    return " ".join(words).rstrip(" .,;:")
