"""The demo as a program and as a Hugging Face Space: build from folders, launch with limits.

A Space runs this file and reads its settings from the environment: `PHENOLIP_MODEL` (required), `PHENOLIP_DATA`,
`PHENOLIP_SECOND_MODEL`.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when Gradio is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr
import torch

from phenolip.demo.catalog import Catalog
from phenolip.demo.examples import draw_examples
from phenolip.demo.page import NUM_AT_ONCE, STYLE, build_page
from phenolip.demo.service import MAX_UPLOAD_MB, DemoModel, open_upload
from phenolip.exceptions import ConfigurationError
from phenolip.ontology.reader import load_ontology

LOOPBACK = "127.0.0.1"
PORT = 7860
MAX_WAITING = 64
_SYSTEM_FONTS = ["system-ui", "sans-serif"]  # Gradio's own would be fetched from the internet


def build(
    model: str | Path,
    *,
    data: str | Path | None = None,
    second_model: str | Path | None = None,
    hpo: str | None = None,
    device: str | None = None,
    examples_dir: str | Path | None = None,
) -> gr.Blocks:
    """The page for a model.

    Args:
        model: Folder or Hub id of a Stage-2 model.
        data: Images to search and browse, anything that `load_pairs` reads; embedded now, which may take minutes.
        second_model: Another model to compare with.
        hpo: An hp.obo or hp.json; by default the installed release.
        device: By default a GPU if there is one.
        examples_dir: Where phantoms are drawn; by default a temporary folder.
    """
    ontology = load_ontology(hpo)
    first = DemoModel.from_pretrained(model, ontology, device)
    second = DemoModel.from_pretrained(second_model, ontology, device) if second_model else None
    catalog = Catalog(data, ontology) if data else None
    if catalog is not None:
        catalog.embed(first.predictor.encoder)
    folder = Path(examples_dir or tempfile.mkdtemp(prefix="phenolip_phantoms_"))
    examples = draw_examples(folder)
    for each in filter(None, (first, second)):
        each.warm_up(open_upload(examples[0]))
    page = build_page(first, second=second, catalog=catalog, examples=examples)
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=NUM_AT_ONCE)


def launch(page: gr.Blocks, *, host: str = LOOPBACK, port: int = PORT, **options: Any) -> Any:
    """Serves the page: no share link, no run history, no analytics, uploads limited, no file but the page's own.

    Raises:
        ConfigurationError: The port is taken or no port.
    """
    if not 1 <= port <= 65_535:
        raise ConfigurationError(f"`port` must be from 1 to 65535, got {port}.")
    _share_cores()
    try:
        return page.launch(
            server_name=host,
            server_port=port,
            share=False,
            max_file_size=f"{MAX_UPLOAD_MB}mb",
            theme=gr.themes.Default(font=_SYSTEM_FONTS, font_mono=["ui-monospace", "monospace"]),
            css=STYLE,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            pwa=False,
            **options,
        )
    except OSError as error:
        raise ConfigurationError(f"`port` {port} on {host} cannot be used: {error}.") from error


def _share_cores() -> None:
    """Threads of requests that are computed at a time do not fight for cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(min(torch.get_num_threads(), max(1, cores // NUM_AT_ONCE)))


def main() -> None:
    """What a Space runs."""
    settings = {key: os.environ.get(f"PHENOLIP_{key.upper()}") for key in ("model", "data", "second_model")}
    if not settings["model"]:
        raise ConfigurationError("The variable PHENOLIP_MODEL must name a model, a folder or Hub id; it is not set.")
    launch(build(**settings), host=os.environ.get("GRADIO_SERVER_NAME", LOOPBACK))


if __name__ == "__main__":
    main()
