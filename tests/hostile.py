"""JSON that is valid, or nearly, and that no program can use."""

from __future__ import annotations

from lavis.common.bounded_json import DEEPEST

HOSTILE = {
    "nested lists": "[" * 1_000_000,
    "closed lists": "[" * 1_000_000 + "]" * 1_000_000,
    "nested objects": '{"a":' * 900 + "1" + "}" * 900,
    "just too deep": "[" * (DEEPEST + 2) + "]" * (DEEPEST + 2),
    "5,000 digits": "[" + "9" * 5000 + "]",
    "10^400": '{"steps": [1' + "0" * 400 + "]}",
    "10^400 as a float": '{"x": 1e400}',
    "a negative giant": f"-{2**80}",
    "half": '{"steps": [0, 1',
    "nothing": "",
}
