import numpy as np
import pytest
import torch

from phenolip.exceptions import ConfigurationError
from phenolip.ontology.similarity import lin, resnik
from phenolip.train.hierarchy import HierarchyTerm, build_hierarchy, is_withheld, lin_matrix_of, resnik_matrix_of

SETTINGS = {
    "similarity": "lin",
    "target_temperature": 0.1,
    "margin": 0.5,
    "max_distance_edges": 4,
    "withheld_fraction": 0.0,
}


class Recorder(torch.nn.Module):
    """A loss that keeps what it is given."""

    def forward(self, embeds, concept_ids, scale, pairwise, counted):
        self.pairwise, self.counted = pairwise, counted
        return embeds.sum()


def test_lin_and_resnik_matrices_equal_the_measures_pair_by_pair(ontology):
    ids = list(ontology.term_ids())
    largest = max(ontology.information_content(hpo_id) for hpo_id in ids)
    found_lin, found_resnik = lin_matrix_of(ontology, ids), resnik_matrix_of(ontology, ids)
    for i, a in enumerate(ids):
        for j, b in enumerate(ids):
            assert found_lin[i, j] == pytest.approx(lin(ontology, a, b))
            if i != j:
                assert found_resnik[i, j] == pytest.approx(resnik(ontology, a, b) / largest)


def test_a_term_outside_the_phenotypes_shares_no_information(ontology):
    ids = ["HP:9900009", "HP:9900003", "HP:9900004"]  # a manner, and two shapes
    assert np.isnan(ontology.information[ontology.rows(ids[:1])])
    found = resnik_matrix_of(ontology, ids)
    assert not found[0].any() and not found[:, 0].any()
    assert found[1, 2] == resnik_matrix_of(ontology, ids[1:])[0, 1] > 0


def test_the_loss_gets_the_similarity_of_each_pair_of_texts(ontology):
    ids, recorder = list(ontology.term_ids()), Recorder()
    term = HierarchyTerm(recorder, lambda terms: lin_matrix_of(ontology, terms), ids)
    concepts = torch.tensor([4, 1, 4, 7, 0])  # unsorted, one repeated
    term(torch.ones(5, 3), concepts, torch.tensor(1.0))
    for i, a in enumerate(concepts.tolist()):
        for j, b in enumerate(concepts.tolist()):
            assert recorder.pairwise[i, j].item() == pytest.approx(lin(ontology, ids[a], ids[b]), abs=1e-6)
    assert recorder.counted.all()


def test_withheld_terms_are_a_fixed_share_and_count_in_no_pair(ontology):
    ids, recorder = list(ontology.term_ids()), Recorder()
    term = HierarchyTerm(recorder, lambda terms: np.zeros((len(terms), len(terms))), ids, withheld_fraction=0.5)
    term(torch.ones(len(ids), 3), torch.arange(len(ids)), torch.tensor(1.0))
    withheld = [is_withheld(hpo_id, 0.5) for hpo_id in ids]
    assert 0 < sum(withheld) < len(ids)
    for i, hidden in enumerate(withheld):
        assert recorder.counted[i].tolist() == [not hidden and not other for other in withheld]
    share = np.mean([is_withheld(f"HP:{n:07d}", 0.1) for n in range(20_000)])
    assert share == pytest.approx(0.1, abs=0.01)
    assert all(is_withheld(f"HP:{n:07d}", 0.2) for n in range(2000) if is_withheld(f"HP:{n:07d}", 0.1))


@pytest.mark.parametrize("kind", ["correlation", "targets", "margin"])
@pytest.mark.parametrize("similarity", ["lin", "resnik"])
def test_each_kind_lowers_its_loss_by_gradient_steps(ontology, kind, similarity):
    ids = list(ontology.term_ids())
    term = build_hierarchy(kind, ontology, ids, **(SETTINGS | {"similarity": similarity}))
    generator = torch.Generator().manual_seed(0)
    free = torch.randn(2 * len(ids), 8, generator=generator).requires_grad_()
    concepts = torch.arange(len(ids)).repeat_interleave(2)
    values = []
    for _ in range(30):
        loss = term(torch.nn.functional.normalize(free, dim=1), concepts, torch.tensor(5.0))
        values.append(loss.item())
        (gradient,) = torch.autograd.grad(loss, free)
        free = (free - 2.0 * gradient).detach().requires_grad_()
    assert values[-1] < 0.9 * values[0]


def test_no_hierarchy_is_no_term_and_an_unknown_one_is_refused(ontology):
    assert build_hierarchy("none", ontology, [], **SETTINGS) is None
    with pytest.raises(ConfigurationError, match="`hierarchy` must be none, .* got 'tree'"):
        build_hierarchy("tree", ontology, [], **SETTINGS)
