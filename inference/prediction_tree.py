"""The best phenotypes of an image as a small tree: organ system, where branches meet, and the phenotypes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology


@dataclass(slots=True)
class TreeNode:
    """One line of the tree.

    Attributes:
        hpo_id: Id of the phenotype.
        name: Its name.
        probability: Sum of the probabilities of all candidates at or below it, those that are not shown included.
        predicted: Whether it is one of the best candidates itself, and not only above one.
        children: Most probable first.
    """

    hpo_id: str
    name: str
    probability: float
    predicted: bool
    children: list["TreeNode"] = field(default_factory=list)


def prediction_tree(
    ontology: PhenotypeOntology, predicted: Sequence[str], probabilities: Mapping[str, float]
) -> list[TreeNode]:
    """Trees of the predicted terms, one an organ system, the most probable first.

    A term with several parents hangs below the most probable one (the first by id among equals), so that it is shown
    once. Between a system and a predicted term only the ancestors where branches meet are shown.

    Args:
        ontology: The release.
        predicted: Candidates to show, current ids.
        probabilities: Rolled-up probability of terms, by id; a term that is not in it has 0.
    """
    children: dict[str, set[str]] = {}
    tops: set[str] = set()
    for hpo_id in predicted:
        path = _path(ontology, hpo_id, probabilities)
        tops.add(path[0])
        for parent, child in zip(path, path[1:], strict=False):
            children.setdefault(parent, set()).add(child)
    shown = set(predicted)

    def build_all(hpo_ids: set[str], is_top: bool = False) -> list[TreeNode]:
        nodes = [build(hpo_id, is_top) for hpo_id in hpo_ids]
        return sorted(nodes, key=lambda node: (-node.probability, node.hpo_id))

    def build(hpo_id: str, is_top: bool) -> TreeNode:
        while not is_top and hpo_id not in shown and len(children[hpo_id]) == 1:
            (hpo_id,) = children[hpo_id]  # a link of a chain says nothing that its end does not
        below = build_all(children.get(hpo_id, set()))
        return TreeNode(hpo_id, ontology[hpo_id].name, probabilities.get(hpo_id, 0.0), hpo_id in shown, below)

    return build_all(tops, is_top=True)


def format_tree(trees: Sequence[TreeNode]) -> str:
    """The trees as lines for a terminal; a star marks the predicted phenotypes.

    Example:
        >>> lens = TreeNode("HP:0000517", "Abnormal lens morphology", 0.5, True)
        >>> print(format_tree([TreeNode("HP:0000478", "Abnormality of the eye", 0.75, False, [lens])]))
        0.750  Abnormality of the eye  HP:0000478
        0.500  └─ * Abnormal lens morphology  HP:0000517
    """
    lines: list[str] = []

    def write(node: TreeNode, lead: str, stem: str) -> None:
        star = "* " if node.predicted else ""
        lines.append(f"{node.probability:.3f}  {lead}{star}{node.name}  {node.hpo_id}")
        for number, child in enumerate(node.children, start=1):
            last = number == len(node.children)
            write(child, stem + ("└─ " if last else "├─ "), stem + ("   " if last else "│  "))

    for tree in trees:
        write(tree, "", "")
    return "\n".join(lines)


def _path(ontology: PhenotypeOntology, hpo_id: str, probabilities: Mapping[str, float]) -> list[str]:
    """From the organ system (for another kind of term: its topmost ancestor) down to the term."""
    path = [hpo_id]
    while True:
        parents = [parent for parent in ontology.parents(path[-1]) if parent != PHENOTYPIC_ABNORMALITY]
        if ontology.is_phenotype(path[-1]):
            parents = [parent for parent in parents if ontology.is_phenotype(parent)]
        if not parents:
            return path[::-1]
        path.append(min(parents, key=lambda parent: (-probabilities.get(parent, 0.0), parent)))
