"""Files that are no articles, broken or hostile: each is one counted drop, and none costs time or memory."""

import os
import resource
import time

import pytest

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.articles.article_xml import find_articles
from phenolip.phenokg.parse_articles import ParseConfig, run
from phenolip.phenokg.records import Article, ArticleFile, Drop

ARTICLE = "<article><front><article-meta/></front><body><p>a</p></body></article>"
BOMB = '<!DOCTYPE article [<!ENTITY a0 "aaaaaaaaaa">{}]>'.format(
    "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
)


def outcomes(folder, **bounds):
    return list(run(find_articles(folder), ParseConfig(**bounds)))


def outcome(folder, data, **bounds):
    (folder / "a.xml").write_bytes(data if isinstance(data, bytes) else data.encode())
    (found,) = outcomes(folder, **bounds)
    return found


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        ("", "empty", ""),
        (" \n", "empty", ""),
        ("no XML", "broken_xml", "Line 1"),
        ("<article>\n<body>\n<p>a</body></article>", "broken_xml", "Line 3"),
        (ARTICLE[:-5], "broken_xml", "Line 1"),
        (ARTICLE + "<p/>", "broken_xml", "Line 1"),
        ("<article><body><p>&alpha;</p></body></article>", "broken_xml", "alpha"),
        ('<?xml version="1.0" encoding="UTF-8"?><article><body><p>\u00e9</p></body></article>'.encode("latin-1"),
         "encoding", "Line 1"),
        ('<?xml version="1.0" encoding="x-none"?>' + ARTICLE, "encoding", "x-none"),
        ("<html><body/></html>", "not_jats", "'html'"),
        ("<article/>", "not_jats", "'article'"),
        ("<article><title>DocBook</title><para/></article>", "not_jats", "'article'"),
        ('<article xmlns="http://docbook.org/ns/docbook"><body/></article>', "not_jats", "docbook"),
        ("<pmc-articleset><Reply>none</Reply></pmc-articleset>", "not_jats", "pmc-articleset"),
        ("<:article/>", "not_jats", "':article'"),
        ('<manifest xmlns="http://manuscriptexchange.org"><item/></manifest>', "not_jats", "manifest"),
        ("<article><body>" + "<sec>" * 240 + "</sec>" * 240 + "</body></article>", "too_deep", "200"),
        ("<article><body>" + "<sec>" * 5000 + "</sec>" * 5000 + "</body></article>", "too_deep", "depth"),
        (ARTICLE.replace("a</p>", "a" * 11_000_000 + "</p>"), "too_large", ""),
        (BOMB + ARTICLE.replace("a</p>", "&a11;</p>"), "entity", ""),
        (BOMB + ARTICLE.replace("<p>", '<p id="&a11;">'), "entity", ""),
        (BOMB + ARTICLE.replace("a</p>", "&a1;</p>"), "entity", "'a1'"),
        ('<!DOCTYPE article [<!ENTITY a "&b;"><!ENTITY b "&a;">]>' + ARTICLE.replace("a</p>", "&a;</p>"),
         "entity", ""),
        ('<!DOCTYPE article [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + ARTICLE.replace("a</p>", "&x;</p>"),
         "entity", "'x'"),
    ],
)  # fmt: skip
def test_what_is_no_article_is_dropped(tmp_path, data, reason, detail):
    started = time.perf_counter()
    drop = outcome(tmp_path, data)
    assert isinstance(drop, Drop)
    assert (drop.step, drop.key, drop.reason) == ("parse_articles", "a.xml", reason), drop
    assert detail in drop.detail
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "data",
    [
        "\ufeff" + ARTICLE,
        ('<?xml version="1.0" encoding="UTF-16"?>' + ARTICLE).encode("utf-16"),
        b'<?xml version="1.0" encoding="ISO-8859-1"?>' + ARTICLE.replace("a<", "\u00e9<").encode("latin-1"),
        # neither of these documents exists
        '<!DOCTYPE article PUBLIC "-//NLM//DTD JATS//EN" "http://127.0.0.1:9/a.dtd">' + ARTICLE,
        '<!DOCTYPE article SYSTEM "/nowhere.dtd" [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x">%x;]>' + ARTICLE,
        '<!DOCTYPE article [<!ENTITY g SYSTEM "g.gif" NDATA gif><!NOTATION gif SYSTEM "gif">]>' + ARTICLE,
        ARTICLE.replace("<", "<a:").replace("<a:/", "</a:").replace(
            "<a:article>", '<a:article xmlns:a="https://jats.nlm.nih.gov/ns/archiving/1.3/">'),
        ARTICLE.replace("<article>", '<article xmlns="http://dtd.nlm.nih.gov/2.0/xsd/archivearticle">'),
        ARTICLE.replace("<p>", '<p id="1" xml:id="1">'),
        f"<pmc-articleset>{ARTICLE}</pmc-articleset>",
        f'<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"><GetRecord><record><metadata>{ARTICLE}</metadata></record>'
        "</GetRecord></OAI-PMH>",
    ],
)  # fmt: skip
def test_variants_of_articles_are_read(tmp_path, data):
    article = outcome(tmp_path, data)
    assert isinstance(article, Article), article
    assert article.source == article.article_id == "a.xml"


def test_a_wrapper_may_hold_several_articles(tmp_path):
    (tmp_path / "a.xml").write_text(f"<articles>{ARTICLE}{ARTICLE}</articles>")
    assert [article.article_id for article in outcomes(tmp_path)] == ["a.xml#1", "a.xml#2"]


def test_a_secret_is_not_read(tmp_path):
    (tmp_path / "secret").write_text("SECRET")
    where = (tmp_path / "secret").as_uri()
    caption = "<fig><caption><p>{}</p></caption></fig>"
    for declared, used in (
        (f'<!ENTITY x SYSTEM "{where}">', "&x;"),
        (f'<!ENTITY % p SYSTEM "{where}">%p;', "plain"),
        ("", f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{where}" parse="text"/>'),
    ):
        found = outcome(
            tmp_path, f"<!DOCTYPE article [{declared}]>" + ARTICLE.replace("<p>a</p>", caption.format(used))
        )
        assert "SECRET" not in repr(found)


def test_a_file_of_two_gigabytes_is_not_opened(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<article><body><fig><caption><p>")
    os.truncate(path, 2_000_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (drop,) = outcomes(tmp_path)
    assert drop.reason == "too_large"
    assert "2000000000 bytes" in drop.detail
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kilobytes


def test_time_is_bounded(tmp_path):
    figures = "".join(f'<fig id="f{n}"><label>Figure {n}</label></fig>' for n in range(300))
    data = f"<article><body>{figures}{'<p>Figs 1-299</p>' * 3000}</body></article>"
    started = time.perf_counter()
    drop = outcome(tmp_path, data, timeout_s=0.05)
    assert (drop.reason, drop.key) == ("too_slow", "a.xml")
    assert time.perf_counter() - started < 2


def test_what_an_article_grows_to_is_bounded(tmp_path):
    figures = "".join(f'<fig id="f{n}"><label>Figure {n}</label></fig>' for n in range(1, 1000))
    drop = outcome(tmp_path, f"<article><body>{figures}<p>Figs 1-999 {'a ' * 50_000}</p></body></article>")
    assert drop.reason == "too_large"


@pytest.mark.parametrize("path", ["../a.xml", "/etc/hostname", "link.xml", "inner/../../a.xml", "linked/a.xml"])
def test_a_path_does_not_lead_out_of_the_folder(tmp_path, path):
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (tmp_path / "a.xml").write_text(ARTICLE)
    (root / "link.xml").symlink_to(tmp_path / "a.xml")
    (root / "linked").symlink_to(tmp_path)
    (drop,) = run([ArticleFile(str(root), path)], ParseConfig())
    assert drop.reason == "outside_folder"


def test_a_folder_is_searched_in_one_order_and_without_links(tmp_path):
    root = tmp_path / "root"
    for name in ("b/PMC1.1/PMC1.1.xml", "b/c.NXML", "a.xml", "a.txt", "z/manifest.xml", "odd.xml/x.xml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("<manifest/>" if "manifest" in name else ARTICLE)
    (root / "self").symlink_to(root)
    (root / "y.xml").symlink_to(root / "a.xml")
    os.mkfifo(root / "pipe.xml")
    (root / "gone.xml").write_text(ARTICLE)
    found = list(find_articles(root))
    assert [one.path for one in found if isinstance(one, ArticleFile)] == [
        "a.xml", "b/PMC1.1/PMC1.1.xml", "b/c.NXML", "gone.xml", "odd.xml/x.xml", "pipe.xml"
    ]  # fmt: skip
    assert [(one.key, one.reason) for one in found if isinstance(one, Drop)] == [
        ("self", "link"), ("y.xml", "link"), ("z/manifest.xml", "not_jats")
    ]  # fmt: skip
    (root / "gone.xml").unlink()
    reasons = {one.key: one.reason for one in run(found, ParseConfig()) if isinstance(one, Drop)}
    assert reasons["gone.xml"] == reasons["pipe.xml"] == "unreadable"


def test_a_name_that_is_no_text_is_dropped(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"\xff.xml")).write_text(ARTICLE)
    except OSError:
        pytest.skip("the file system takes no such name")
    (drop,) = outcomes(tmp_path)
    assert drop.reason == "bad_name"
    drop.key.encode()


def test_a_folder_that_is_none_is_an_error(tmp_path):
    with pytest.raises(DataError, match="Folder of articles .* does not exist"):
        list(find_articles(tmp_path / "absent"))


@pytest.mark.parametrize("bounds", [{"max_bytes": 0}, {"timeout_s": -1.0}, {"max_depth": 256}])
def test_bounds_are_checked(bounds):
    with pytest.raises(ConfigurationError, match=f"`{next(iter(bounds))}` must be"):
        ParseConfig(**bounds)
