"""Parts of the page as HTML; every word that comes from data is escaped."""

from collections.abc import Sequence
from html import escape

from PIL import Image

from phenolip.images import thumbnail_uri
from phenolip.inference.predict import PhenotypePrediction
from phenolip.inference.prediction_tree import TreeNode
from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY, PhenotypeOntology

STYLE = """
.ph-bars {list-style: none; margin: 0; padding: 0}
.ph-bars li {margin: 0 0 .55rem; overflow-wrap: anywhere}
.ph-line {display: flex; justify-content: space-between; gap: .75rem; align-items: baseline}
.ph-line small {opacity: .7; white-space: nowrap}
.ph-track {background: color-mix(in srgb, currentColor 12%, transparent); border-radius: 3px; height: .55rem}
.ph-fill {background: #bb3754; border-radius: 3px; height: 100%; min-width: 2px}
.ph-tree, .ph-tree ul {list-style: none; margin: 0; padding-left: 1.1rem; border-left: 1px solid
  color-mix(in srgb, currentColor 20%, transparent)}
.ph-tree {padding-left: 0; border: 0}
.ph-tree li {margin: .2rem 0; overflow-wrap: anywhere}
.ph-picture img {width: 100%; display: block; border-radius: 3px}
.ph-images {display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: .75rem}
.ph-images figure {margin: 0}
.ph-images img {width: 100%; border-radius: 3px}
.ph-images figcaption {font-size: .8rem; overflow-wrap: anywhere; max-height: 8rem; overflow-y: auto}
.ph-notice {border-left: 4px solid #bb3754; padding: .5rem .75rem; margin: 0;
  background: color-mix(in srgb, #bb3754 10%, transparent)}
"""
PICTURE_PX = 448
WAITING = "<p><small>The map is being computed.</small></p>"
PURPOSE = "For research, not for diagnosis."
NOTICE = (
    "Scores compare candidates with each other, they are no probabilities of disease. Do not upload pictures of "
    "patients without their consent. Uploads stay on this machine and are deleted within ten minutes."
)


def notice() -> str:
    """What the page is not for."""
    return f'<p class="ph-notice" role="note"><strong>{PURPOSE}</strong> {NOTICE}</p>'


def bars(rows: Sequence[PhenotypePrediction]) -> str:
    """Phenotypes with their probabilities as bars; the numbers are text, for screen readers and for copying."""
    items = []
    for row in rows:
        percent = 100 * row.probability
        items.append(
            f'<li><div class="ph-line"><span>{escape(row.name)} <small>{escape(row.hpo_id)}</small></span>'
            f"<small>{percent:.1f} % &middot; cosine {row.cosine:.3f}</small></div>"
            f'<div class="ph-track" aria-hidden="true"><div class="ph-fill" style="width:{percent:.2f}%"></div></div>'
            "</li>"
        )
    return f'<ol class="ph-bars" aria-label="Phenotypes, most probable first">{"".join(items)}</ol>'


def tree(nodes: Sequence[TreeNode]) -> str:
    """Predicted phenotypes, in bold, under organ systems; a number sums all candidates at or below."""

    def item(node: TreeNode) -> str:
        name = f"<strong>{escape(node.name)}</strong>" if node.predicted else escape(node.name)
        below = f"<ul>{''.join(map(item, node.children))}</ul>" if node.children else ""
        return f"<li>{name} <small>{100 * node.probability:.1f} %</small>{below}</li>"

    return f'<ul class="ph-tree" aria-label="Place in the ontology">{"".join(map(item, nodes))}</ul>'


def definition(ontology: PhenotypeOntology, hpo_id: str) -> str:
    """Name, definition, synonyms and the way down from the organ system to a term."""
    term = ontology[hpo_id]
    exact = [synonym.text for synonym in term.synonyms if synonym.scope == "EXACT"]
    also = f"<p><small>Also: {escape('; '.join(exact))}</small></p>" if exact else ""
    path = " &rsaquo; ".join(escape(ontology[step].name) for step in way_down(ontology, term.id))
    said = escape(term.definition or "The ontology gives no definition.")
    return (
        f"<h3>{escape(term.name)} <small>{escape(term.id)}</small></h3><p>{said}</p>{also}<p><small>{path}</small></p>"
    )


def picture(image: Image.Image, words: str) -> str:
    """A picture inside the page: as a file, Gradio would keep it, and break it where two users ask for the same."""
    source = thumbnail_uri(image, PICTURE_PX)
    return (
        f'<figure class="ph-picture"><img src="{source}" alt="{escape(words)}"><small>{escape(words)}</small></figure>'
    )


def images(found: Sequence[tuple[Image.Image, str]]) -> str:
    """Small pictures with their captions."""
    shown = [
        f'<figure><img src="{thumbnail_uri(image, PICTURE_PX)}" alt="">'
        f"<figcaption>{escape(words)}</figcaption></figure>"
        for image, words in found
    ]
    return f'<div class="ph-images">{"".join(shown)}</div>' if shown else "<p>No images.</p>"


def way_down(ontology: PhenotypeOntology, hpo_id: str) -> list[str]:
    """Ids from the organ system to the term, by the first parent that is a phenotype."""
    path = [hpo_id]
    while True:
        parents = [p for p in ontology.parents(path[-1]) if p != PHENOTYPIC_ABNORMALITY and ontology.is_phenotype(p)]
        if not parents:
            return path[::-1]
        path.append(parents[0])
