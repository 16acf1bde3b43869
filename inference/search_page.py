"""Hits of a search as one HTML page with pictures, which loads nothing and runs nothing."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from phenolip.images import jpeg_uri
from phenolip.inference.search import Hit

_MAX_CAPTION = 400  # characters of a caption that are shown
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#1c1c1c;background:#fff}
h2{margin:2.2rem 0 .6rem;font-size:1.15rem}.note{color:#555}
.hits{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1rem;padding:0;list-style:none}
.hits li{border:1px solid #ddd;border-radius:6px;padding:.6rem;overflow-wrap:anywhere}
.hits img{display:block;margin:0 auto .5rem;height:8rem;max-width:100%;object-fit:contain}
.none{height:8rem;display:grid;place-items:center;color:#888;background:#f5f5f5;margin-bottom:.5rem}
.score{font-weight:600}.small{font-size:.8rem;color:#555;margin:.3rem 0 0}p{margin:.3rem 0}
@media(prefers-color-scheme:dark){body{color:#eee;background:#181818}.hits li{border-color:#444}
.small,.note{color:#aaa}.none{background:#222}}
"""


def search_page(title: str, facts: Mapping[str, Any], results: Sequence[tuple[str, Sequence[Hit]]], note: str) -> str:
    """The page.

    Args:
        title: What it is about.
        facts: What was searched and by what, shown above the hits.
        results: Each query in words, and its hits.
        note: A sentence on what the hits mean.
    """
    shown = " · ".join(f"{escape(name)}: {escape(str(value))}" for name, value in facts.items())
    parts = [f"<h2>{escape(query)}</h2><ol class=hits>{''.join(map(_item, hits))}</ol>" for query, hits in results]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=generator content=phenolip>"
        '<meta name=viewport content="width=device-width">'
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:; style-src "
        f"'unsafe-inline'\"><title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>"
        f"<p class=note>{shown}</p><p class=note>{escape(note)}</p>{''.join(parts)}</html>\n"
    )


def _item(hit: Hit) -> str:
    fields = hit.fields
    caption = fields.get("caption") or ""
    short = caption if len(caption) <= _MAX_CAPTION else caption[:_MAX_CAPTION] + " ..."
    picture = "<div class=none>no picture kept</div>"
    if hit.thumbnail:
        picture = f'<img src="{jpeg_uri(hit.thumbnail)}" alt="{escape(str(fields.get("row_id")))}">'
    labels = [f"{name} ({hpo_id})" for name, hpo_id in zip(fields["phenotypes"], fields["hpo_ids"], strict=True)]
    lines = ["; ".join(labels), str(fields.get("row_id") or ""), str(fields.get("license") or "")]
    small = "".join(f"<p class=small>{escape(line)}</p>" for line in lines if line)
    return f"<li>{picture}<p><span class=score>{hit.cosine:.3f}</span> {escape(short)}</p>{small}</li>"
