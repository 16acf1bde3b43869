"""Words of clinical English: where they begin and end, what they do in a phrase, and when two are the same word."""

import re
from enum import IntEnum
from functools import lru_cache

import Stemmer

#: Splits a text into separators and words, in turn; hyphens, slashes and apostrophes separate.
WORD = re.compile(r"([^\W_]+)")


class Role(IntEnum):
    """What a word does between the words of a mention."""

    CONTENT = 0  # says something of its own
    FILLER = 1  # article, adverb of degree, "noted"
    LINK = 2  # turns a phrase round: "fingers were short", "hypoplasia of the nails"
    WALL = 3  # a mention crosses it only if the wording itself has it: "seizures with fever"
    CONJUNCTION = 4  # joins the items of a list
    BARRIER = 5  # no mention crosses it


class Separator(IntEnum):
    """What stands between two words; from `BRACKET` on, no mention crosses it."""

    BLANK = 0
    HYPHEN = 1
    COMMA = 2
    SLASH = 3
    BRACKET = 4
    STOP = 5  # end of a sentence


_ROLES = {
    Role.FILLER: """a an the his her its their both also very rather quite markedly mildly slightly severely somewhat
        moderately strikingly extremely unusually relatively remarkably notably mostly invariably generally often
        usually found noted observed seen present demonstrated s""",
    Role.LINK: """of in on at for is are was were be been being appeared appears seemed remained became become""",
    Role.WALL: """with by from as into to that which this these those had has have he she it they showed shows show
        revealed there""",
    Role.CONJUNCTION: "and or nor",
    Role.BARRIER: """without no not but who because while although though during after before since when if whereas
        than then except despite clear free negative""",
}
_ROLE_OF = {word: role for role, words in _ROLES.items() for word in words.split()}

# British to American spelling, as far as clinical words need it.
_SPELLINGS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"aem", "em"),
        (r"oed(?=em|i)", "ed"),
        (r"\boes(?=[to])", "es"),
        (r"\bfoet", "fet"),
        (r"p(?:ae|æ)d", "ped"),
        (r"aesth", "esth"),
        (r"(?<=[cgn])ae(?=[cv])", "e"),
        (r"coel", "cel"),
        (r"(?<=rrh)oe|(?<=pn)oe(?=a)", "e"),
        (r"(?<=[bl])our|(?<=um)our(?=s?$)", "or"),
        (r"(?<=colo)ur", "r"),
        (r"isation", "ization"),
        (r"(?<=[a-z]{4})is(?=ed$|ing$)", "iz"),
        (r"(?<=[fc]ib)re(?=s?$)|(?<=cent)re(?=s?$)", "er"),
        (r"sulph", "sulf"),
        (r"leuk", "leuc"),
        (r"grey", "gray"),
    )
]
_MAY_BE_BRITISH = re.compile(r"ae|æ|oe|our|is|re|ph|leuk|grey")
# Greek and Latin: plurals that an English rule does not know, and singulars that it would take for plurals.
_PLURALS = (
    (re.compile(r"(?<=[a-z]{3})mata$"), "ma"),
    (re.compile(r"(?<=[a-z]{3})(?<!moni)ae$"), "a"),
    (re.compile(r"thoraces$"), "thorax"),
)
_NO_ENDING = re.compile(r"(?:itis|[aeoiyx]sis|us|ss|is)$")
_IRREGULAR = {
    "teeth": "tooth", "feet": "foot", "nevi": "nevus", "phalanges": "phalanx", "women": "woman", "men": "man",
    "children": "child",
    "first": "1st", "second": "2nd", "third": "3rd", "fourth": "4th", "fifth": "5th", "sixth": "6th",
    "ii": "2", "iii": "3", "iv": "4", "vi": "6", "vii": "7", "viii": "8",
}  # fmt: skip
# Endings of adjectives of Greek and Latin findings, and of the nouns that name these: "microcephalic", "ataxic".
_ADJECTIVES = (("istic", "ism"), ("otic", "osis"), ("itic", "itis"), ("ic", "ia"), ("ic", "y"), ("ous", "y"))
_stem = Stemmer.Stemmer("english").stemWord


def words_of(role: Role) -> frozenset[str]:
    """The words that have a role; none for `Role.CONTENT`, which is that of all others."""
    return frozenset(word for word, its_role in _ROLE_OF.items() if its_role is role)


def role_of(word: str) -> Role:
    """What a word does in a phrase, whatever its case."""
    return _ROLE_OF.get(word.casefold(), Role.CONTENT)


def separator_of(gap: str) -> Separator:
    """What the characters between two words are."""
    if "\n\n" in gap or any(mark in gap for mark in ";:?!") or ("." in gap and gap != "."):
        return Separator.STOP
    if any(bracket in gap for bracket in "()[]"):
        return Separator.BRACKET
    if "," in gap:
        return Separator.COMMA
    if "/" in gap:
        return Separator.SLASH
    return Separator.HYPHEN if gap == "-" else Separator.BLANK


@lru_cache(maxsize=100_000)
def singular(word: str) -> str:
    """The word in lower case, American spelling and singular: what a wording of one word is looked up by.

    Example:
        >>> singular("Tumours"), singular("fistulae"), singular("Arthritis")
        ('tumor', 'fistula', 'arthritis')
    """
    word = _spelled(word)
    if _NO_ENDING.search(word):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


def nouns_of(word: str) -> tuple[str, ...]:
    """Nouns that an adjective may come from, as `singular` gives them; most are no words at all.

    Example:
        >>> nouns_of("cyanotic"), nouns_of("hypotonic")
        (('cyanosis', 'cyanotia', 'cyanoty'), ('hypotonia', 'hypotony'))
    """
    word = _spelled(word)
    return tuple(
        word[: -len(ending)] + noun
        for ending, noun in _ADJECTIVES
        if word.endswith(ending) and len(word) > len(ending) + 2
    )


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The word without its English ending: what a word of a longer wording is looked up by.

    Example:
        >>> stem("Shortened") == stem("shortening"), stem("anaemic") == stem("anemic"), stem("gingivitis")
        (True, True, 'gingivitis')
    """
    word = _spelled(word)
    return word if _NO_ENDING.search(word) else _stem(word)


def _spelled(word: str) -> str:
    word = word.casefold()
    word = _IRREGULAR.get(word, word)
    if _MAY_BE_BRITISH.search(word):
        for pattern, replacement in _SPELLINGS:
            word = pattern.sub(replacement, word)
    for pattern, replacement in _PLURALS:
        word = pattern.sub(replacement, word)
    return _IRREGULAR.get(word, word)
