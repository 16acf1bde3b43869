"""Licences as publishers word them."""

import pytest

from phenolip.phenokg.licenses import read_license

CC = "http://creativecommons.org/"


@pytest.mark.parametrize(
    ("text", "urls", "category", "spdx"),
    [
        ("distributed under the terms of the Creative Commons Attribution License "
         "(http://creativecommons.org/licenses/by/2.0), which permits unrestricted use", [],
         "commercial", "CC-BY-2.0"),
        ("the terms of the Creative Commons Attribution License, which permits unrestricted use", [],
         "commercial", "CC-BY"),
        ("a Creative Commons Attribution 4.0 International License", [], "commercial", "CC-BY-4.0"),
        ("", [CC + "licenses/by-sa/3.0/"], "commercial", "CC-BY-SA-3.0"),
        ("", ["https://creativecommons.org/licenses/by/3.0/igo/legalcode"], "commercial", "CC-BY-3.0-IGO"),
        ("", [CC + "licenses/by-nd/4.0/"], "no-derivatives", "CC-BY-ND-4.0"),
        ("", ["https://creativecommons.org/licenses/by-nd-nc/4.0/"], "no-derivatives", "CC-BY-NC-ND-4.0"),
        ("under the CC BY-NC-ND license", [CC + "licenses/by-nc-nd/4.0/"], "no-derivatives", "CC-BY-NC-ND-4.0"),
        ("Attribution\u2013Noncommercial\u2013Share Alike 3.0 Unported license", [], "non-commercial",
         "CC-BY-NC-SA-3.0"),
        ("Creative Commons Attribution Non Commercial (CC BY-NC 4.0) license", [], "non-commercial", "CC-BY-NC-4.0"),
        ("Creative Commons Attribution-NonCommercial-NoDerivs 4.0 International", [], "no-derivatives",
         "CC-BY-NC-ND-4.0"),
        ("ccby", [], "commercial", "CC-BY"),
        # the licence of the data is not that of the article
        ("Creative Commons Attribution 4.0 License. The Public Domain Dedication waiver applies to the data",
         [CC + "publicdomain/zero/1.0/"], "commercial", "CC-BY-4.0"),
        ("", [CC + "publicdomain/zero/1.0/"], "commercial", "CC0-1.0"),
        ("lies in the public domain", [CC + "publicdomain/mark/1.0/"], "commercial", "CC-PDM-1.0"),
        ("a U.S. Government work, in the public domain in the USA", [], "commercial", None),
        ("Open Government Licence v3.0", [], "commercial", "OGL-UK-3.0"),
        ("Creative Commons Attribution License, which permits unrestricted non-commercial use", [],
         "non-commercial", None),
        ("permits copying and redistribution for non-commercial purposes", [], "non-commercial", None),
        ("permits commercial and non-commercial reuse; unrestricted use", [], "commercial", None),
        ("not in the public domain", [], "unknown", None),
        ("with attribution to the authors, all rights reserved", [], "unknown", None),
        ("made available for unrestricted research re-use", ["http://www.elsevier.com/open-access/userlicense/1.0/"],
         "unknown", None),
        ("", [], "unknown", None),
    ],
)  # fmt: skip
def test_a_statement_is_read_as_what_it_allows(text, urls, category, spdx):
    license = read_license(text, urls)
    assert (license.category, license.spdx) == (category, spdx)


def test_the_statement_and_its_address_are_kept():
    license = read_license("  Under\n a licence. ", ["http://example.org/x", CC + "licenses/by/4.0/"])
    assert (license.text, license.url) == ("Under a licence.", CC + "licenses/by/4.0/")


def test_a_long_statement_takes_no_longer():
    assert read_license("attribution " * 1_000_000).category == "unknown"
    assert read_license("permit non- " + "cc " * 1_000_000).category == "unknown"
