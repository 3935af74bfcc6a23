from __future__ import annotations

import json

from lavis.salmubench.layout import public_layout, write_public_layout


def test_keys_and_values(tmp_path):
    names = ["retfail_r1", "retfail_mrr", "assoc_str", "acs", "idzsc", "core_assoc", "imagenet"]
    names += ["inter_id_sim", "intra_id_sim", "vis_id_int", "frag_sim"]
    path = write_public_layout(tmp_path, "vlul/5x best", {f"salmubench_{n}": i / 8 for i, n in enumerate(names)})
    assert path.name == "evaluation_vlul_5x_best.json" and [p.name for p in tmp_path.iterdir()] == [path.name]
    assert json.loads(path.read_text()) == {
        "efficacy": {
            "1.1_RetFail": {"R@1": 0.0, "MRR": 0.125},
            "1.2_AssocStr": {"mean": 0.25},
            "1.3_ACS": {"acs_accuracy": 0.375},
            "1.4_IdZSC": {"identity_classification_accuracy": 0.5},
            "1.5_CoreAssoc": {"mean": 0.625},
        },
        "utility": {
            "2.1_GenKnow": {"ImageNet1k_Accuracy": 0.75},
            "2.2_InterIdSim": {"mean": 0.875},
            "2.3_IntraIdSim": {"mean": 1.0},
            "2.4_VisIdInt": {"mean": 1.125},
            "2.5_FragSim": {"mean": 1.25},
        },
    }


def test_metrics_that_were_not_measured_have_no_value():
    layout = public_layout({"salmubench_gen_know": 0.9, "salmubench_acs": float("nan")})
    assert layout["utility"]["2.1_GenKnow"] == {"ImageNet1k_Accuracy": -1}
    assert layout["efficacy"]["1.3_ACS"] == {"acs_accuracy": None}
    assert layout["utility"]["2.5_FragSim"] == {"mean": None}
