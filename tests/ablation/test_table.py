"""What is bold in the table, and what is said under it."""

import pytest

from phenolip.ablation.rows import AblationRow
from phenolip.ablation.summary import RowSummary, origins, spread
from phenolip.ablation.table import to_markdown
from phenolip.eval.compare import Difference


def summary(row_id="row", reference=None, ci95=None, seeds=()):
    row = AblationRow(row_id, f"title of {row_id}", "Group", None, reference)
    difference = Difference(sum(seeds) / len(seeds), ci95, {}, 0.0, 0.0, (2, 2)) if seeds else None
    by_seed = spread(seeds) if seeds else None
    return RowSummary(row, (0, 1), {"i2t_hit_at_1": spread([0.5])}, spread([0.5]), (), difference, by_seed, None)


PLAIN = summary("plain")
CLEAR = summary("clear", "plain", (0.01, 0.05), (0.02, 0.04))
WORSE = summary("worse", "plain", (-0.05, -0.01), (-0.02, -0.04))
ONE_SEED_AGAINST = summary("split", "plain", (0.01, 0.05), (-0.01, 0.07))
WIDE = summary("wide", "plain", (-0.01, 0.07), (0.02, 0.04))


@pytest.mark.parametrize(("row", "is_clear"), [(PLAIN, False), (CLEAR, True), (WORSE, True), (ONE_SEED_AGAINST, False),
                                               (WIDE, False)])  # fmt: skip
def test_bold_needs_the_interval_and_every_seed(row, is_clear):
    assert row.is_clear is is_clear
    rows = [PLAIN] if row is PLAIN else [PLAIN, row]
    assert ("**" in to_markdown(rows, num_pairs=9)) is is_clear


def test_under_the_table_stands_what_chance_alone_makes():
    text = to_markdown([PLAIN, CLEAR, WORSE, ONE_SEED_AGAINST, WIDE], num_pairs=9)
    assert "about 0.2 of these 4 differences would leave out zero by chance alone." in text
    assert "by chance" not in to_markdown([PLAIN], num_pairs=9)


def test_more_than_one_commit_or_machine_is_said():
    first, second = {"git_commit": "a", "hardware": {"cpu": "x"}}, {"git_commit": "b", "hardware": {"cpu": "x"}}
    found = origins([first, second, first])
    assert found == {"git_commits": ["a", "b"], "hardware": [{"cpu": "x"}]}
    assert "These runs come from 2 commits of the code (" in to_markdown([PLAIN], num_pairs=9, origins=found)
    other = origins([first, {"git_commit": "b", "hardware": None}])
    assert "from 2 commits of the code and 2 machines (" in to_markdown([PLAIN], num_pairs=9, origins=other)
    assert "come from" not in to_markdown([PLAIN], num_pairs=9, origins=origins([first, first]))
