"""The slots of a finding, in normalised words, from the modifiers that belong to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from phenolip.phenokg.findings.finding_lexicon import FindingKind
from phenolip.phenokg.findings.finding_modifiers import Modifier

_SEVERITIES = ("grade", "size", "course")  # the first that is given fills the slot
_MAX_PLACES = 2  # of one side


@dataclass(slots=True)
class _Place:
    """Sides and regions that are named together."""

    sides: list[str] = field(default_factory=list)
    implied: bool = False  # both sides, by a plural
    regions: list[str] = field(default_factory=list)

    def side(self) -> str:
        if "bilateral" in self.sides or {"left", "right"} <= set(self.sides):
            return "bilateral"
        return self.sides[0] if self.sides else "bilateral" if self.implied else ""

    def text(self) -> str:
        regions = [region for region in self.regions if region != "lung"] or self.regions[:1]
        side = self.side()
        if regions == ["lung"] and side:
            regions = []
        return " ".join(filter(None, (side, *regions[:_MAX_PLACES])))


def severity_of(kind: FindingKind, modifiers: Sequence[Modifier]) -> str | None:
    """How severe it is, else how large, else since when; two words are joined by "to".

    Example:
        >>> severity_of(FindingKind("edema"), [Modifier("grade", "mild"), Modifier("grade", "moderate")])
        'mild to moderate'
    """
    if kind.severity is not None:
        return kind.severity
    for wanted in _SEVERITIES:
        texts = list(dict.fromkeys(modifier.text for modifier in modifiers if modifier.type == wanted))
        if texts:
            return " to ".join(texts[:2])
    return None


def location_of(kind: FindingKind, modifiers: Sequence[Modifier]) -> str | None:
    """Side and place, such as "left lower lobe", "bilateral basilar" or "left apical and right hilar".

    Example:
        >>> sides = [Modifier("side", "right"), Modifier("side", "left"), Modifier("region", "basilar")]
        >>> location_of(FindingKind("opacity"), sides)
        'bilateral basilar'
    """
    places = _merged(_places(kind, modifiers))
    texts = list(dict.fromkeys(filter(None, (place.text() for place in places))))
    bare = [text for text in texts if any(other != text and text in other.split() for other in texts)]
    return " and ".join(text for text in texts if text not in bare) or None


def _places(kind: FindingKind, modifiers: Sequence[Modifier]) -> list[_Place]:
    """Modifiers in groups: a side after a side and a place begins a new one."""
    places = [_Place([kind.location] if kind.location else [])]
    for modifier in modifiers:
        last = places[-1]
        if modifier.type == "side" and modifier.is_implied:
            last.implied = True
        elif modifier.type == "side":
            if last.sides and last.regions:
                places.append(last := _Place())
            if modifier.text not in last.sides:
                last.sides.append(modifier.text)
        elif modifier.type == "region" and modifier.text not in last.regions:
            if not any(word in kind.name for word in (modifier.text, modifier.text.rstrip("r"))):
                last.regions.append(modifier.text)
    return places


def _merged(places: list[_Place]) -> list[_Place]:
    """Places of the same regions as one, with the sides of all."""
    merged: dict[tuple[str, ...], _Place] = {}
    for place in places:
        regions = tuple(region for region in place.regions if region != "lung")
        if regions in merged:
            merged[regions].sides += place.sides
            merged[regions].implied |= place.implied
        else:
            merged[regions] = place
    return list(merged.values())
