"""Finds the wordings of a lexicon in a text, their words in any order, apart and in other forms.

A sentence is a set of stems, each with the places where it stands. The wordings that it holds in full are found by
descending a tree from rare words to frequent ones; only then is it asked how the words stand to each other. The time
is that of a few set operations a word, whatever the size of the lexicon. The method is ours; that the words of a
name may change order and form is the idea of Groza et al., 2024 (FastHPOCR).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import NamedTuple

from phenolip.phenokg.linking.lexicon import SINGLE, Lexicon, Wording
from phenolip.phenokg.linking.words import (
    WORD,
    Role,
    Separator,
    nouns_of,
    role_of,
    separator_of,
    singular,
    stem,
    words_of,
)

_MAX_SENTENCE_WORDS = 120  # a text without a full stop is cut here, which keeps the time linear
_MAX_SPAN_WORDS = 10
_MAX_INSERTED = 2  # words of their own meaning between those of a mention; one more in a list
_INSERTED_COST, _TURNED_COST, _REVERSED_COST, _ADJECTIVE_COST = 0.1, 0.03, 0.1, 0.1
_ROUNDING = 1e-9  # costs are sums of tenths
_MEMO_SIZE = 300_000  # distinct words, and separators, of a corpus that are remembered

# Plain integers: a comparison of them is what the inner loops do most.
_HYPHEN, _COMMA, _BRACKET, _STOP = map(int, (Separator.HYPHEN, Separator.COMMA, Separator.BRACKET, Separator.STOP))
_PREPOSITIONS = frozenset("of in on at for".split())
_BARRIERS = frozenset(map(stem, words_of(Role.BARRIER)))

_Places = dict[str, list[tuple[int, float]]]  # stem -> places in the text, each with the cost of reading it so


class Mention(NamedTuple):
    """Words of a text that name a term.

    Attributes:
        places: Which words of the text, rising, from 0.
        score: 0 to 1.
        wording: What they match.
    """

    places: tuple[int, ...]
    score: float
    wording: Wording


class _Known(NamedTuple):
    """What is known of a word.

    Attributes:
        role: What it does in a phrase.
        is_content: 1 if it says something of its own, else 0.
        readings: Words of wordings that it may be, with what each reading costs.
        stems: The words of `readings`.
        alone: Wordings of this one word.
    """

    role: Role
    is_content: int
    readings: tuple[tuple[str, float], ...]
    stems: tuple[str, ...]
    alone: tuple[Wording, ...]


class _Group(NamedTuple):
    """Wordings of the same words in the same order, with the same walls."""

    words: tuple[str, ...]
    rarest: str
    wordings: list[Wording]
    has_barrier: bool


class _Node:
    """A tree of the sets of words that wordings consist of: from rare words to frequent ones, one word a step.

    Which wordings a sentence holds in full is found by descending only along words that it has.
    """

    __slots__ = ("children", "groups", "keys")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.keys: frozenset[str] = frozenset()
        self.groups: list[_Group] = []

    @classmethod
    def of(cls, groups: Iterable[list[Wording]], frequency: Counter[str]) -> "_Node":
        """The tree of all wordings, each list of which shares its words and walls."""
        root = cls()
        nodes = [root]
        for alike in groups:
            node, words = root, alike[0].words
            path = sorted(words, key=lambda word: (frequency[word], word))
            for word in path:
                if word not in node.children:
                    node.children[word] = cls()
                    nodes.append(node.children[word])
                node = node.children[word]
            node.groups.append(_Group(words, path[0], alike, not _BARRIERS.isdisjoint(words)))
        for node in nodes:
            node.keys = frozenset(node.children)
        return root

    def within(self, present: set[str]) -> list[_Group]:
        """The wordings whose words are all present."""
        found: list[_Group] = []
        open_nodes = [self]
        while open_nodes:
            node = open_nodes.pop()
            children = node.children
            for word in node.keys & present:
                child = children[word]
                if child.groups:
                    found += child.groups
                if not child.keys.isdisjoint(present):
                    open_nodes.append(child)
        return found


class WordedText:
    """A text in words; all lists but `gaps` have one value a word.

    Attributes:
        text: As it came.
        words: Letters and digits, case kept.
        starts: First character of each word, in Unicode code points.
        ends: One past its last character.
        gaps: Characters before each word, and last those behind the text's last word.
        kinds: What the gaps are, as `Separator`.
        known: What the matcher knows of each word.
        stems: Words of wordings that each may be, read together with the word before a hyphen too.
        contents: How many content words stand before each word, and last in the whole text.
        joined: Of places after a hyphen, what is known of both words read as one.
    """

    __slots__ = ("contents", "ends", "gaps", "joined", "kinds", "known", "starts", "stems", "text", "words")

    def __init__(self, text: str) -> None:
        pieces = WORD.split(text)
        offsets = list(accumulate(map(len, pieces)))
        self.text = text
        self.words: list[str] = pieces[1::2]
        self.starts: list[int] = offsets[0:-1:2]
        self.ends: list[int] = offsets[1::2]
        self.gaps: list[str] = pieces[::2]
        self.kinds: list[int] = []
        self.known: list[_Known] = []
        self.stems: list[tuple[str, ...]] = []
        self.contents: list[int] = []
        self.joined: dict[int, _Known] = {}


class WordingMatcher:
    """All mentions of a lexicon's wordings in texts.

    Args:
        lexicon: Of a release.
        min_score: Mentions below are left out.
    """

    def __init__(self, lexicon: Lexicon, min_score: float) -> None:
        self._substitutes, self._abbreviations = lexicon.substitutes, lexicon.abbreviations
        self._threshold = min_score - _ROUNDING
        self._budget = 1.0 - self._threshold
        self._alone: dict[str, list[Wording]] = defaultdict(list)
        alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Wording]] = defaultdict(list)
        for wording in lexicon.wordings:
            if len(wording.words) == 1:
                self._alone[wording.words[0].removeprefix(SINGLE)].append(wording)
            else:
                alike[wording.words, wording.walls].append(wording)
        frequency = Counter(word for words in {words for words, _ in alike} for word in set(words))
        self._vocabulary = frozenset(frequency)
        self._tree = _Node.of(alike.values(), frequency)
        self._memo: dict[str, _Known] = {}
        self._kinds: dict[str, int] = {}

    def mentions(self, text: str) -> tuple[WordedText, list[Mention]]:
        """The text in words and every mention, overlapping ones included, in no particular order."""
        worded = self._read(text)
        found = [
            Mention((place,), wording.weight, wording)
            for place, known in enumerate(worded.known)
            if known.alone
            for wording in known.alone
        ]
        for place, joined in worded.joined.items():
            found += [Mention((place - 1, place), wording.weight, wording) for wording in joined.alone]
        for first, behind in _sentences(worded):
            present = set().union(*worded.stems[first:behind])
            groups = self._tree.within(present)
            if groups:
                where = _where(worded, first, behind)
                for group in groups:
                    self._place(worded, where, group, found)
        return worded, found

    def _read(self, text: str) -> WordedText:
        worded, memo, kinds = WordedText(text), self._memo, self._kinds
        if max(len(memo), len(kinds)) > _MEMO_SIZE:
            memo.clear()
            kinds.clear()
        words, gaps = worded.words, worded.gaps
        try:
            worded.known = [memo[word] for word in words]
        except KeyError:
            worded.known = [memo.get(word) or self._learn(word) for word in words]
        try:
            worded.kinds = [kinds[gap] for gap in gaps]
        except KeyError:
            kinds.update({gap: int(separator_of(gap)) for gap in gaps})
            worded.kinds = [kinds[gap] for gap in gaps]
        worded.contents = list(accumulate([known[1] for known in worded.known], initial=0))
        worded.stems = [known[3] for known in worded.known]
        if "-" in text:  # "pre-auricular" is "preauricular" too
            for place in range(1, len(words)):
                if gaps[place] == "-":
                    joined = words[place - 1] + words[place]
                    worded.joined[place] = known = memo.get(joined) or self._learn(joined)
                    worded.stems[place] += known.stems[:1]
        return worded

    def _learn(self, word: str) -> _Known:
        role, readings, alone = role_of(word), (), ()
        if role is Role.CONTENT or role is Role.BARRIER:
            stemmed = stem(word)
            readings = ((stemmed, 0.0), *self._substitutes.get(stemmed, ()))
            readings = tuple(reading for reading in readings if reading[0] in self._vocabulary)
            wordings = (*self._alone_of(word), *self._abbreviations.get(word, ()))
            alone = tuple(wording for wording in wordings if wording.weight >= self._threshold)
        stems = tuple(stemmed for stemmed, _ in readings)
        known = _Known(role, int(role is Role.CONTENT), readings, stems, alone)
        self._memo[word] = known
        return known

    def _alone_of(self, word: str) -> list[Wording]:
        """Wordings of one word: of the word itself, else of the noun that it is the adjective of."""
        if found := self._alone.get(singular(word)):
            return found
        nouns = (self._alone[noun] for noun in nouns_of(word) if noun in self._alone)
        return [replace(wording, weight=wording.weight - _ADJECTIVE_COST) for wording in next(nouns, ())]

    def _place(self, worded: WordedText, places: _Places, group: _Group, found: list[Mention]) -> None:
        """Adds the mentions of a wording of several words, one for each place of its rarest word in the sentence."""
        words, anchor, wordings, _ = group
        contents, num_words, budget = worded.contents, len(words), self._budget
        for place, cost in places[anchor]:
            chosen = _nearest(places, words, anchor, place, cost)
            if chosen is None:
                continue
            order, low, high, cost = chosen
            inserted = contents[high + 1] - contents[low] - num_words
            if inserted > _MAX_INSERTED + 1 or cost + inserted * _INSERTED_COST > budget:
                continue  # most candidates end here
            if group.has_barrier and not _ends_phrase(worded, high):
                continue  # "no clavicle [fracture]"
            if inserted == 0 and high - low < 2 and order[0] == low and worded.kinds[high] <= _HYPHEN:
                score = 1.0 - cost
            else:
                between = _between(worded, order, low, high, wordings[0].walls)
                if between is None:
                    continue
                score = 1.0 - cost - between
            for wording in wordings:
                if score * wording.weight >= self._threshold:
                    found.append(Mention(tuple(sorted(order)), score * wording.weight, wording))


def _sentences(worded: WordedText) -> Iterator[tuple[int, int]]:
    """First place, and the place behind the last, of each sentence of two words or more."""
    ends = [place for place, kind in enumerate(worded.kinds) if kind == _STOP]
    first = 0
    for end in (*ends, len(worded.words)):
        while first + 1 < end:
            behind = min(end, first + _MAX_SENTENCE_WORDS)
            yield first, behind
            first = behind
        first = end


def _where(worded: WordedText, first: int, behind: int) -> _Places:
    """The stems of a sentence, each with its places and the cost of reading it there."""
    where: _Places = {}
    for place in range(first, behind):
        for reading, cost in worded.known[place].readings:
            if reading in where:
                where[reading].append((place, cost))
            else:
                where[reading] = [(place, cost)]
        if place in worded.joined:
            for reading in worded.joined[place].stems[:1]:
                where.setdefault(reading, []).append((place, 0.0))
    return where


def _nearest(
    places: _Places, words: tuple[str, ...], anchor: str, place: int, cost: float
) -> tuple[list[int], int, int, float] | None:
    """For each word of a wording the place that keeps the mention shortest; first and last of them; what it costs."""
    low = high = place
    order, anchored = [], False
    for word in words:
        if word == anchor and not anchored:
            order.append(place)
            anchored = True
            continue
        best, best_rank, best_cost = -1, 0.0, 0.0
        for other, other_cost in places[word]:
            rank = (high if high > other else other) - (low if low < other else other) + 5 * other_cost
            if (best < 0 or rank < best_rank) and other != place and other not in order:
                best, best_rank, best_cost = other, rank, other_cost
        if best < 0:
            return None
        order.append(best)
        cost += best_cost
        if best < low:
            low = best
        elif best > high:
            high = best
        if high - low > _MAX_SPAN_WORDS:
            return None
    return order, low, high, cost


def _between(worded: WordedText, order: list[int], low: int, high: int, walls: tuple[str, ...]) -> float | None:
    """What the way the words stand to each other costs; None if they do not belong together.

    Args:
        worded: The text.
        order: Place of each word of the wording, in the order of the wording.
        low: First of these places.
        high: Last of these places.
        walls: Function words that this wording may cross.
    """
    kinds = worded.kinds
    rising = all(one < other for one, other in pairwise(order))
    if high - low + 1 == len(order) and max(kinds[low + 1 : high + 1]) <= _HYPHEN:
        return 0.0 if rising else _REVERSED_COST
    inserted, num_conjunctions, linked, preposition = 0, 0, False, False
    joints: list[tuple[int, int]] = []  # last place before and first place after each comma or conjunction
    for place in range(low, high + 1):
        if place > low and (kind := kinds[place]) > _HYPHEN:
            if kind >= _BRACKET:
                return None
            joints.append((place - 1, place))
        if place in order:
            continue
        role = worded.known[place].role
        if role is Role.CONTENT:
            inserted += 1
        elif role is Role.LINK:
            linked = True
            preposition = preposition or worded.words[place] in _PREPOSITIONS
        elif role is Role.CONJUNCTION:
            if joints and joints[-1] == (place - 1, place):
                joints.pop()  # "a, b, and c": one joint
                if not joints:
                    return None  # "a, and b" joins clauses
            joints.append((place - 1, place + 1))
            num_conjunctions += 1
        elif role is Role.BARRIER or (role is Role.WALL and worded.words[place].casefold() not in walls):
            return None
    if joints:
        if not rising or inserted > _MAX_INSERTED + 1 or not _is_list(worded, order, joints, num_conjunctions):
            return None
    elif inserted > (_MAX_INSERTED if rising else int(linked and not preposition)):
        return None  # "muscles were poorly developed", but not "face [was characterized by a] small"
    turned = 0.0 if rising else _TURNED_COST if linked else _REVERSED_COST
    return inserted * _INSERTED_COST + turned


def _is_list(worded: WordedText, order: list[int], joints: list[tuple[int, int]], num_conjunctions: int) -> bool:
    """Whether a mention is one reading of a list: "aplastic or [hypoplastic] nails", "short [arms and] legs"."""
    low, high = min(order), max(order)
    if not num_conjunctions and any(worded.kinds[after] == _COMMA for _, after in joints):
        return False
    touching = []
    for before, after in joints:
        while after < high and after not in order and worded.known[after].role in (Role.FILLER, Role.LINK):
            after += 1
        while before > low and before not in order and worded.known[before].role in (Role.FILLER, Role.LINK):
            before -= 1
        touching.append((before, after))
    for number, (before, after) in enumerate(touching):
        left, right = before in order, after in order
        if right and not left and not _ends_phrase(worded, high):
            return False  # "short [stature and] facial" goes on to "abnormalities"
        others = touching[:number] + touching[number + 1 :]
        if not (left or right) and not any(
            before in (other_after, other_after - 1) or after == other_before for other_before, other_after in others
        ):
            return False
    return True


def _ends_phrase(worded: WordedText, place: int) -> bool:
    following = place + 1
    return (
        following >= len(worded.words)
        or worded.kinds[following] > _HYPHEN
        or worded.known[following].role is not Role.CONTENT
    )
