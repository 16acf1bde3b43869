"""Which part of a caption is about which label, once it is known where labels stand.

A label leads its text ("(A) Normal heart. (B) ...") or follows it ("normal heart (a) and dilated heart (b)"); one
caption can have both. Text is a sentence or the part of one up to the next label. What stands before all labels is of
all, and so is an end that speaks of every subfigure, such as the scale of their bars.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from phenolip.phenokg.captions.caption_sentences import find_sentence_starts, starts_here
from phenolip.phenokg.captions.choose_markers import Label
from phenolip.phenokg.captions.common_endings import find_common_ending
from phenolip.phenokg.captions.label_names import KINDS, LIST, read_labels
from phenolip.phenokg.captions.label_roles import find_roles

Span = tuple[int, int]

_CLAUSE = re.compile(r"[;,]\s(?:and\s|or\s|while\s|whereas\s)?|\s(?:and|or|while|whereas|but)\s")
_MENTION = re.compile(rf"\b(?:in|of|for|from)\s(?:(?:the )?(?:panels?|images?|figures?)\s)?\(?({LIST})")
_NO_TEXT = ("", "and", "or", "to")
_MAX_CLAUSE_LOOK = 600  # characters that are searched for the begin of a clause
_MAX_LABELS_LOOK = 64  # labels of a sentence


@dataclass(slots=True)
class Pieces:
    """Spans of a caption, sorted by what they are about; labels in the order in which they are named.

    Attributes:
        background: Of all subfigures.
        own: Of each label, which may be blank.
        markers: Spans that name labels and are no text.
    """

    background: list[Span] = field(default_factory=list)
    own: dict[str, list[Span]] = field(default_factory=dict)
    markers: list[Span] = field(default_factory=list)

    def add(self, names: Sequence[str], start: int, end: int) -> None:
        """Gives a span to labels."""
        for name in names:
            spans = self.own.setdefault(name, [])
            spans.append((start, end))


def find_pieces(caption: str, labels: Sequence[Label]) -> Pieces:
    """The parts of a caption with these labels, at least one."""
    return _Assignment(caption, labels).pieces()


class _Assignment:
    """One walk over the labels of a caption; `end` is where the text that has been given out ends."""

    def __init__(self, caption: str, labels: Sequence[Label]) -> None:
        self.caption, self.labels = caption, labels
        self.sentence_starts = find_sentence_starts(caption)
        self.roles = find_roles(caption, labels)
        self.stems = [self._stem(number) for number in range(len(labels))]
        self.made = Pieces(markers=[span for label in labels for span in _without_note(label)])
        self.groups = self._groups()
        self.begins: dict[int, int] = {}  # where the text of labels that follow it or stand inside of it begins

    def pieces(self) -> Pieces:
        self._first()
        for number, label in enumerate(self.labels):
            self._text_behind(number)
            if label.marker.note:
                self.made.add(label.names, *label.marker.note)
        self._give_to_those_without_text()
        return self.made

    def _give_to_those_without_text(self) -> None:
        """Labels of which nothing is said share the sentence behind the marker that names them first."""
        silent = {
            name
            for name, spans in self.made.own.items()
            if all(self.caption[start:end].strip(" .,;:&\n") in _NO_TEXT for start, end in spans[:_MAX_LABELS_LOOK])
        }
        for label in self.labels if silent else ():
            if names := [name for name in label.names if name in silent]:
                self.made.add(names, label.marker.end, self._sentence_end(label.marker.end))
                silent.difference_update(names)

    def _first(self) -> None:
        """Background up to the first label, or up to the sentence that it ends."""
        first = self.labels[0]
        begin = first.marker.start
        if self.roles[0] != "leads":
            begin = self._sentence_start(max(0, first.marker.start - 2))  # before a blank and the stop
            self._before(0, begin)
        elif self.stems[0] is not None and any(
            stem is not None and label.is_new for stem, label in zip(self.stems[1:], self.labels[1:], strict=True)
        ):
            begin = self.stems[0]
            self.made.add(self._led_from(0), begin, first.marker.start)
        if begin > 0:
            self.made.background.append((0, begin))

    def _text_behind(self, number: int) -> None:
        """Gives out the text between a label and the next."""
        start = self.labels[number].marker.end
        if number + 1 == len(self.labels):
            self._last(number)
            return
        following = self.labels[number + 1]
        stop = following.marker.start
        if self.roles[number + 1] == "leads":
            stem = self.stems[number + 1]
            if stem is not None:
                self.made.add(self._led_from(number + 1), stem, stop)
                stop = stem
            self._behind(number, start, stop)
            return
        begin = self._begin(number)
        self._behind(number, start, begin)
        self._before(number + 1, begin)

    def _before(self, number: int, begin: int) -> None:
        """Gives a label the text before it; one inside of its text gets all of it with what comes behind."""
        self.begins[number] = begin
        if self.roles[number] == "follows":
            self.made.add(self.labels[number].names, begin, self.labels[number].marker.start)

    def _begin(self, number: int) -> int:
        """Where the text of the next label, which follows it, begins."""
        label, following = self.labels[number], self.labels[number + 1]
        start, stop = label.marker.end, following.marker.start
        sentence = self._sentence_start(stop)
        if self.roles[number] == "follows" and self.roles[number + 1] == "follows":
            goes_on = start < sentence and self.caption[start : start + 2].strip(" .,;:)").isalpha()
            goes_on = goes_on and not starts_here(self.caption, label.marker.start)
            return self._sentence_end(start) if goes_on else start
        if sentence > start:
            return sentence
        if set(following.names) <= set(label.names):
            return start
        low = max(start, stop - _MAX_CLAUSE_LOOK)
        clauses = [match.end() for match in _CLAUSE.finditer(self.caption, low, stop) if match.end() < stop - 1]
        return clauses[-1] if clauses else start

    def _behind(self, number: int, start: int, stop: int) -> None:
        """Gives out text behind a label that does not belong to the next."""
        if self.roles[number] == "leads":
            self.made.add(self.labels[number].names, start, stop)
            return
        if self.roles[number] == "inside":
            self.made.add(self.groups[number], self.begins[number], stop)
            return
        if self.caption[start:stop].strip(" .,;:\n") == "":
            return
        sentence_end = self._sentence_end(start)
        self.made.add(self._of_sentence(number), start, min(sentence_end, stop))
        if sentence_end < stop:
            self.made.add(self.groups[number], sentence_end, stop)

    def _last(self, number: int) -> None:
        """Gives out the end of the caption."""
        label, start = self.labels[number], self.labels[number].marker.end
        stop = len(self.caption)
        if "leads" in self.roles:
            begins = [start, *self._starts_between(start, stop)]
            earlier = self.caption[: label.marker.start]
            common = find_common_ending(self.caption, begins, earlier)
        else:
            common = self._sentence_end(start)
        self._behind(number, start, common)
        for begin, end in pairwise([common, *self._starts_between(common, stop), stop]):
            if names := self._mentioned(begin, end):
                self.made.add(names, begin, end)
            elif self.caption[begin:end].strip():
                self.made.background.append((begin, end))

    def _mentioned(self, start: int, stop: int) -> list[str]:
        """Labels that a sentence speaks of, as "Bars in b-d: 5 mm." does; none unless all are known."""
        known = self.made.own
        for match in _MENTION.finditer(self.caption, start, min(stop, start + _MAX_CLAUSE_LOOK)):
            for kind in KINDS:
                names = read_labels(match[1], kind)
                if names and all(name in known for name in names):
                    return list(names)
        return []

    def _stem(self, number: int) -> int | None:
        """Where a sentence begins that leads over to a label which stands in the midst of it."""
        label = self.labels[number]
        if self.roles[number] != "leads":
            return None
        low = self.labels[number - 1].marker.end if number else 0
        start = self._sentence_start(label.marker.start)
        led_over = self.caption[start : label.marker.start].strip()
        if (start <= low and number) or not led_over.strip(" .,;:(") or led_over[-1] in ".;!?":
            return None
        return start

    def _led_from(self, number: int) -> list[str]:
        """Labels of a sentence or list that a label with a stem opens."""
        names = list(self.labels[number].names)
        for place in range(number + 1, len(self.labels)):
            before, label = self.labels[place - 1].marker.end, self.labels[place]
            if self.stems[place] is not None or self.roles[place] != "leads":
                break
            if self._starts_between(before, label.marker.start):
                break
            names += label.names
        return names

    def _groups(self) -> list[list[str]]:
        """For each label the names that text behind it is of: those of the group that it is part of, else its own."""
        groups: list[list[str]] = []
        group: list[str] = []
        for label in self.labels:
            if not set(label.names) <= set(group):
                group = list(label.names)
            groups.append(group)
        return groups

    def _of_sentence(self, number: int) -> list[str]:
        """Names of the labels that follow their text in one sentence with this one, up to it."""
        low = self._sentence_start(self.labels[number].marker.start)
        names: list[str] = []
        last = max(0, number - _MAX_LABELS_LOOK)
        while number >= last and self.roles[number] == "follows" and self.labels[number].marker.start >= low:
            names = [*self.labels[number].names, *names]
            number -= 1
        return list(dict.fromkeys(names))

    def _starts_between(self, start: int, stop: int) -> list[int]:
        starts = self.sentence_starts
        return starts[bisect_right(starts, start) : bisect_left(starts, stop)]

    def _sentence_start(self, place: int) -> int:
        number = bisect_right(self.sentence_starts, place) - 1
        return self.sentence_starts[number] if number >= 0 else 0

    def _sentence_end(self, place: int) -> int:
        number = bisect_right(self.sentence_starts, place)
        return self.sentence_starts[number] if number < len(self.sentence_starts) else len(self.caption)


def _without_note(label: Label) -> list[Span]:
    """A marker's characters, less a note on the subfigure that stands in it."""
    marker = label.marker
    if marker.note is None:
        return [(marker.start, marker.end)]
    return [(marker.start, marker.note[0]), (marker.note[1], marker.end)]
