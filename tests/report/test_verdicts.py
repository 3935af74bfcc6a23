"""Verdicts and distances: hand-computed cases, the published table, the study's table, and what is broken."""

import math

import pytest

from lavis.common.errors import ConfigError
from lavis.evaluation.measure import columns_used
from lavis.evaluation.metric import DISTANCE
from lavis.report.verdicts import Verdict, VerdictRules, compared, distance, verdict

D15 = (
    *("salmubench_assoc_str", "salmubench_inter_id_sim", "salmubench_intra_id_sim"),
    *(
        f"salmubench_{name}{split}"
        for name in ("pool_mrr", "x_mrr", "acs")
        for split in ("", "_holdout_identity", "_holdout_association")
    ),
    *("dr_txt_r1", "salmubench_gen_know_shape", "salmubench_gen_know_colour"),
)
MRR, KNOW = "salmubench_retfail_mrr", "salmubench_imagenet"
ASSOC, INTER, INTRA = "salmubench_assoc_str", "salmubench_inter_id_sim", "salmubench_intra_id_sim"
X_WHOLE, X_INTER = "salmubench_x_mrr_whole", "salmubench_x_mrr_holdout_identity"
X_INTRA = "salmubench_x_mrr_holdout_association"

# SALMUBench (arXiv 2603.26316): the reference columns, then the 5x budget as MRR, GenKnow, InterIdSim, IntraIdSim.
CLEAN = {MRR: 0.0008, ASSOC: 0.1417, KNOW: 0.633, INTER: 0.1428, INTRA: 0.1428}
COMPROMISED = {MRR: 0.2361, ASSOC: 0.3215, KNOW: 0.638, INTER: 0.3215, INTRA: 0.3213}
PUBLISHED = {
    "cliperase": ((0.001, 0.634, 0.024, 0.024), "over-generalised"),
    "delete": ((0.001, 0.632, 0.023, 0.023), "over-generalised"),
    "vlul": ((0.001, 0.638, 0.210, 0.210), "over-generalised"),
    "ft": ((0.003, 0.638, 0.209, 0.209), "over-generalised"),
    "neggrad": ((0.009, 0.630, 0.063, 0.061), "over-generalised"),
    "shuffled": ((0.004, 0.548, 0.212, 0.212), "catastrophic"),
    "simmin": ((0.001, 0.615, -0.420, -0.425), "over-generalised"),
}

# The study of SALMU-mini: X whole, cosine and X of both holdouts, retain R@1, shape accuracy.
STUDY_NAMES = (X_WHOLE, INTER, X_INTER, INTRA, X_INTRA, "dr_txt_r1", "salmubench_gen_know")
RETRAINED = (0.005, 0.858, 0.966, 0.849, 0.977, 90.7, 0.823)
STUDY_CLEAN = (0.004, 0.007, 0.003, 0.012, 0.005, 92.0, 0.943)
LEAKY = (0.996, 0.850, 0.966, 0.852, 0.977, 91.3, 0.867)  # X of the holdouts is retrained's: the study gives none
STUDY = {
    "vlul": ((0.095, 0.110, 0.269, 0.122, 0.180, 87.7, 0.820), "over-generalised"),
    "erase": ((0.024, 0.042, 0.199, 0.029, 0.083, 90.3, 0.823), "over-generalised"),
    "delete": ((0.021, 0.025, 0.187, 0.016, 0.065, 71.7, 0.817), "catastrophic"),
    "maskdistill + Dr": ((0.470, 0.640, 0.842, 0.647, 0.412, 23.7, 0.787), "catastrophic"),
    "cliperase": ((0.002, -0.787, 0.073, -0.899, 0.011, 53.7, 0.780), "catastrophic"),
    "erase, image tower only": ((0.051, 0.718, 0.914, 0.422, 0.438, 83.3, 0.813), "over-generalised"),
    "erase + EWC": ((0.659, 0.809, 0.936, 0.733, 0.779, 89.7, 0.817), "ineffective"),
    "cpd, text tower": ((0.009, 0.817, 0.923, 0.851, 0.970, 90.0, 0.823), "none"),
    "cpd, token embedding": ((0.007, 0.811, 0.902, 0.846, 0.963, 92.7, 0.820), "none"),
    "cpd strict": ((0.009, 0.806, 0.904, 0.805, 0.904, 90.0, 0.820), "none"),
    "erase + hold, token embedding": ((0.013, 0.828, 0.980, 0.814, 0.938, 91.7, 0.820), "none"),
    "erase + hold, text tower": ((0.001, 0.801, 0.943, 0.811, 0.930, 87.3, 0.823), "none"),
}


def published(values: tuple[float, ...]) -> dict[str, float]:
    return dict(zip((MRR, KNOW, INTER, INTRA), values, strict=True))


def study(values: tuple[float, ...]) -> dict[str, float]:
    return dict(zip(STUDY_NAMES, values, strict=True))


def judged(values: tuple[float, ...]) -> Verdict:
    return verdict(study(values), study(STUDY_CLEAN), study(LEAKY), study(RETRAINED))


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_methods_fail_in_their_way(method: str) -> None:
    values, expected = PUBLISHED[method]
    assert verdict(published(values), CLEAN, COMPROMISED).name == expected


def test_references_of_the_paper() -> None:
    assert verdict(COMPROMISED, CLEAN, COMPROMISED).name == "ineffective"
    assert verdict(CLEAN, CLEAN, COMPROMISED).name == "over-generalised"  # it never saw the holdouts
    exact = {**COMPROMISED, MRR: 0.0008, ASSOC: 0.1417}
    assert verdict(exact, CLEAN, COMPROMISED) == Verdict("none")


@pytest.mark.parametrize("method", STUDY)
def test_methods_of_the_study(method: str) -> None:
    values, expected = STUDY[method]
    assert judged(values).name == expected


def test_references_of_the_study() -> None:
    assert judged(RETRAINED) == Verdict("none")
    assert judged(LEAKY).name == "ineffective"
    assert judged(STUDY_CLEAN).name == "over-generalised"


def test_every_mode_that_holds_is_a_reason() -> None:
    reasons = judged(STUDY["maskdistill + Dr"][0]).reasons
    assert [reason.split(":")[0] for reason in reasons] == ["catastrophic", "ineffective", *["over-generalised"] * 2]
    # (90.7 − 23.7) / 90.7 = 74 %; (.470 − .005) / (.996 − .005) = 47 %; (.858 − .640) / (.858 − .007) = 26 %
    assert "dr_txt_r1 23.7, 74% below 90.7" in reasons[0]
    assert "0.47, 47% left" in reasons[1]
    assert f"{INTER} 0.64, 26% lost between 0.858 and 0.007" in reasons[2]
    assert X_INTRA in reasons[3]


def test_forget_similarity_under_clean_is_over_generalised() -> None:
    base = {**COMPROMISED, MRR: 0.001}
    limit = 0.1417 - 0.1 * (0.3215 - 0.1417)
    assert verdict({**base, ASSOC: limit + 0.001}, CLEAN, COMPROMISED).name == "none"
    found = verdict({**base, ASSOC: limit - 0.001}, CLEAN, COMPROMISED)
    assert found.name == "over-generalised"
    assert ASSOC in found.reasons[0]


@pytest.mark.parametrize(
    ("key", "threshold", "metric", "loose", "strict"),
    [
        ("utility_loss", 0.2, KNOW, 0.52, 0.50),  # clean's does not count: .638 · .8 = .5104
        ("recall_left", 0.5, MRR, 0.11, 0.13),  # half-way: .11845
        ("holdout_loss", 0.5, INTRA, 0.24, 0.22),  # half-way: .23205
        ("below_clean", 0.5, ASSOC, 0.06, 0.04),  # .1417 − .0899 = .0518
    ],
)
def test_thresholds(key: str, threshold: float, metric: str, loose: float, strict: float) -> None:
    rules = VerdictRules.from_dict({key: threshold})
    model = {**COMPROMISED, MRR: 0.001, ASSOC: 0.15}
    assert verdict({**model, metric: loose}, CLEAN, COMPROMISED, rules=rules).name == "none"
    assert verdict({**model, metric: strict}, CLEAN, COMPROMISED, rules=rules).name not in ("none", "not measured")


def test_whole_identities_are_preferred() -> None:
    model = {**COMPROMISED, MRR: 0.1, ASSOC: 0.15, X_WHOLE: 0.01}
    clean, leaky = {**CLEAN, X_WHOLE: 0.004}, {**COMPROMISED, X_WHOLE: 0.99}
    assert verdict(model, clean, leaky).name == "none"
    assert verdict(model, CLEAN, leaky).name == "ineffective"  # a reference lacks it: RetFail decides


@pytest.mark.parametrize("missing", [MRR, KNOW, INTER, INTRA])
def test_what_is_missing_is_never_good(missing: str) -> None:
    model = {**COMPROMISED, MRR: 0.001, ASSOC: 0.15}
    del model[missing]
    found = verdict(model, CLEAN, COMPROMISED)
    assert found.name == "not measured"
    assert missing in found.reasons[0]


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
@pytest.mark.parametrize("name", [MRR, KNOW, INTER, INTRA, ASSOC, X_WHOLE])
def test_what_is_not_finite_is_broken(name: str, value: float | None) -> None:
    found = verdict({**COMPROMISED, name: value}, CLEAN, COMPROMISED)
    assert (found.name, len(found.reasons)) == ("broken", 1)
    assert name in found.reasons[0]


def test_a_failure_is_told_though_something_is_missing() -> None:
    found = verdict({KNOW: 0.3}, CLEAN, COMPROMISED)
    assert found.name == "catastrophic"
    assert [reason.split(":")[0] for reason in found.reasons] == ["catastrophic"] + ["not measured"] * 3


def test_references_that_do_not_differ_measure_nothing() -> None:
    model = {**COMPROMISED, MRR: 0.001, ASSOC: 0.15}
    assert verdict(model, COMPROMISED, COMPROMISED).name == "not measured"
    assert verdict(model, None, COMPROMISED).name == "not measured"
    assert verdict(model, CLEAN, {}).name == "not measured"


def test_retrained_alone_is_enough() -> None:
    exact = {**COMPROMISED, MRR: 0.0008, ASSOC: 0.1417}
    assert verdict(exact, None, COMPROMISED, exact).name == "none"


@pytest.mark.parametrize(
    "given", [{"utility": 0.1}, {"utility_loss": 0}, {"recall_left": "0.1"}, {"holdout_loss": True}, 3]
)
def test_wrong_rules_are_refused(given: object) -> None:
    with pytest.raises(ConfigError, match=r"sweep\.yaml.*verdict"):
        VerdictRules.from_dict(given, "sweep.yaml")


def test_distance_by_hand() -> None:
    """15 names: cosines off by .1, MRR by .2, X by .3, ACS by .4, R@1 by 15 percent points, zero-shots by .5."""
    assert len(set(D15)) == 15 and {column.key for column in columns_used(DISTANCE)} == set(D15)
    gaps = [0.1] * 3 + [0.2] * 3 + [0.3] * 3 + [0.4] * 3 + [15.0] + [0.5] * 2
    reference = dict.fromkeys(D15, 0.25)
    model = {name: 0.25 + gap * (-1) ** i for i, (name, gap) in enumerate(zip(D15, gaps, strict=True))}
    assert distance(model, reference) == pytest.approx((3 * (0.1 + 0.2 + 0.3 + 0.4) + 0.15 + 1.0) / 15)
    assert distance(reference, reference) == 0


def test_distance_needs_most_of_its_names() -> None:
    full = dict.fromkeys(D15, 0.5)
    twelve, eleven = (dict(list(full.items())[:n]) for n in (12, 11))
    assert distance(twelve, full) == 0
    assert {column.key for column in compared(twelve, full)} == set(D15[:12])
    assert distance(eleven, full) is None
    assert distance(full, eleven) is None
    assert distance(full, {**full, "dr_txt_r1": None}) == 0  # a reference without a value is not a broken model
    assert distance({**full, "dr_txt_r1": math.nan}, full) is None
    assert distance({}, {}) is None
