"""The page itself, of Gradio's components; the work is done in `service` and `catalog`."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import gradio as gr
from PIL import Image

from phenolip.demo import html
from phenolip.demo.catalog import Catalog, Found
from phenolip.demo.service import DemoModel, open_upload
from phenolip.exceptions import PhenoLIPError
from phenolip.inference.explain import Method
from phenolip.ontology.graph import PHENOTYPIC_ABNORMALITY

TOP, NUM_IMAGES = 10, 12
NUM_AT_ONCE = 2  # requests computed at a time, whatever they ask; the others wait their turn
SHARED = {"concurrency_id": "model", "concurrency_limit": NUM_AT_ONCE}
DELETE_EVERY_S, DELETE_AFTER_S = 300, 300  # so that an upload is gone within ten minutes
STYLE = f"""{html.STYLE}
.gradio-container {{max-width: 1100px !important; margin: 0 auto !important}}
@media (max-width: 640px) {{.gradio-container {{padding: 8px !important}}}}
"""


def build_page(
    model: DemoModel,
    *,
    second: DemoModel | None = None,
    catalog: Catalog | None = None,
    examples: Sequence[str] = (),
) -> gr.Blocks:
    """The page with a tab for each thing that can be done with what is there.

    Args:
        model: The model.
        second: Another one to compare it with.
        catalog: Images to search and browse.
        examples: Paths of images to try.
    """
    cleaning = (DELETE_EVERY_S, DELETE_AFTER_S)
    with gr.Blocks(title="PhenoLIP", analytics_enabled=False, delete_cache=cleaning) as page:
        gr.Markdown(f"# PhenoLIP\n{model.name}: {len(model.predictor.names):,} candidate phenotypes")
        gr.HTML(html.notice())
        with gr.Tab("Image"):
            _predict_tab(model, examples)
        if catalog is not None:
            with gr.Tab("Text"):
                _search_tab(model, catalog)
            with gr.Tab("Tree"):
                _browse_tab(catalog)
        if second is not None:
            with gr.Tab("Compare"):
                _compare_tab(model, second, examples)
    return page


def plain_errors(function: Callable) -> Callable:
    """Shows what is wrong with an input as one sentence on the page."""

    @wraps(function)
    def shown(*args: Any) -> Any:
        try:
            return function(*args)
        except PhenoLIPError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from None

    return shown


def _image_input(elem_id: str) -> gr.Image:
    # A file, unconverted: only `open_upload`, which has limits, decodes it.
    return gr.Image(
        type="filepath", image_mode=None, sources=["upload", "clipboard"], label="Image", elem_id=elem_id, height=300
    )


def _predict_tab(model: DemoModel, examples: Sequence[str]) -> None:
    with gr.Row():
        with gr.Column(min_width=300):
            image = _image_input("image")
            button = gr.Button("Rank phenotypes", variant="primary", elem_id="rank")
            if examples:
                gr.Examples(list(examples), image, label="Phantoms: drawn, no patients", cache_examples=False)
        with gr.Column(min_width=300):
            ranked = gr.HTML(elem_id="ranked", label="Phenotypes")
            term = gr.Dropdown([], label="Explain", interactive=True, elem_id="term")
            method = gr.Radio(
                [("hide squares", "occlusion"), ("gradients", "gradient")],
                value="occlusion",
                label="Map",
            )
            heat = gr.HTML(elem_id="heat")
            words = gr.HTML(elem_id="definition")
            with gr.Accordion("Place in the ontology", open=False):
                tree = gr.HTML()

    @plain_errors
    def rank(path: str | None) -> tuple:
        scores = model.score(open_upload(path))
        best = model.predictor.best(scores, top=TOP)[0]
        choices = [(row.name, row.hpo_id) for row in best]
        first = best[0].hpo_id
        return (
            html.bars(best),
            gr.Dropdown(choices, value=first),
            html.WAITING,
            html.definition(model.ontology, first),
            html.tree(model.tree(scores, TOP)),
        )

    @plain_errors
    def explain(path: str | None, hpo_id: str | None, how: str) -> tuple:
        if not hpo_id:
            return "", ""
        return _map_of(model, open_upload(path), hpo_id, how), html.definition(model.ontology, hpo_id)

    # The map costs many passes: the ranking does not wait for it.
    done = button.click(rank, image, [ranked, term, heat, words, tree], api_name="rank", **SHARED)
    done.success(explain, [image, term, method], [heat, words], api_name=False, **SHARED)
    # `input`, not `change`: the list that a ranking fills must not ask for the same map again
    term.input(explain, [image, term, method], [heat, words], api_name="explain", **SHARED)
    method.input(explain, [image, term, method], [heat, words], api_name=False, **SHARED)


def _search_tab(model: DemoModel, catalog: Catalog) -> None:
    text = gr.Textbox(label="Phenotype (name or HPO id) or any text", max_length=2000, elem_id="query")
    button = gr.Button("Find images", variant="primary")
    gallery = gr.HTML(elem_id="found")

    @plain_errors
    def search(query: str) -> str:
        found = catalog.search(model.predictor.encoder, model.text_embed(query), NUM_IMAGES)
        return _captioned(found)

    button.click(search, text, gallery, api_name="search", **SHARED)
    text.submit(search, text, gallery, api_name=False, **SHARED)


def _browse_tab(catalog: Catalog) -> None:
    here = gr.State(PHENOTYPIC_ABNORMALITY)
    up = gr.Button("Up one level", size="sm", elem_id="up")
    words = gr.HTML()
    children = gr.Radio([], label="Below it: number of images", elem_id="children")
    gallery = gr.HTML()

    def show(hpo_id: str) -> tuple:
        node, below = catalog.node(hpo_id), catalog.children(hpo_id)
        choices = [(f"{child.name} ({child.num_images:,})", child.hpo_id) for child in below]
        count = f"<p>Images at or below it: {node.num_images:,}; with the term itself: {node.num_own:,}.</p>"
        images = _captioned(catalog.show(catalog.images_of(hpo_id)[:NUM_IMAGES]))
        return hpo_id, html.definition(catalog.ontology, hpo_id) + count, gr.Radio(choices, value=None), images

    @plain_errors
    def down(chosen: str | None, current: str) -> tuple:
        return show(chosen or current)

    @plain_errors
    def go_up(current: str) -> tuple:
        way = html.way_down(catalog.ontology, current)
        return show(way[-2] if len(way) > 1 else PHENOTYPIC_ABNORMALITY)

    outputs = [here, words, children, gallery]
    children.input(down, [children, here], outputs, api_name="browse")
    up.click(go_up, here, outputs, api_name=False)
    gr.on(None, lambda: show(PHENOTYPIC_ABNORMALITY), None, outputs, api_name=False)


def _compare_tab(first: DemoModel, second: DemoModel, examples: Sequence[str]) -> None:
    image = _image_input("image_for_two")
    button = gr.Button("Rank with both", variant="primary")
    with gr.Row():
        shown = []
        for model in (first, second):
            with gr.Column(min_width=280):
                gr.Markdown(f"### {model.name}")
                shown += [gr.HTML(), gr.HTML()]
    if examples:
        gr.Examples(list(examples), image, label="Phantoms: drawn, no patients", cache_examples=False)

    @plain_errors
    def rank_both(path: str | None) -> list:
        picture = open_upload(path)
        rankings = [model.predictor.best(model.score(picture), top=TOP)[0] for model in (first, second)]
        return [part for best in rankings for part in (html.bars(best), html.WAITING)]

    @plain_errors
    def explain_both(path: str | None) -> list:
        picture, maps = open_upload(path), []
        for model in (first, second):
            best = model.predictor.best(model.score(picture), top=1)[0][0]
            maps.append(_map_of(model, picture, best.hpo_id))
        return maps

    done = button.click(rank_both, image, shown, api_name="compare", **SHARED)
    done.success(explain_both, image, shown[1::2], api_name="compare_maps", **SHARED)


def _map_of(model: DemoModel, picture: Image.Image, hpo_id: str, method: Method = "occlusion") -> str:
    name = model.ontology[hpo_id].name
    return html.picture(model.map_over(picture, hpo_id, method), f"What raises the score of: {name}")


def _captioned(found: Sequence[Found]) -> str:
    words = (one.caption if one.cosine is None else f"{one.cosine:.3f}  {one.caption}" for one in found)
    return html.images([(one.picture, text) for one, text in zip(found, words, strict=True)])
