"""What flags say about data."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lavis.cli.arguments import data_of, with_flags
from lavis.common.errors import ConfigError


@pytest.mark.parametrize(("flag", "given"), [("columns", "image=a,image=b"), ("fractions", "test=0.5,test=0.6")])
def test_a_name_given_twice_is_refused(flag, given):
    args = SimpleNamespace(data=["people.csv"], images="", columns="", fractions="")
    setattr(args, flag, given)
    with pytest.raises(ConfigError, match=f"--{flag}: a name is given twice"):
        data_of(args)


def test_messages_about_keys_name_their_flags():
    said = with_flags(
        "datasets.pairs.forget.where: no row has p9; see datasets.pairs.source and datasets.pairs.forgets"
    )
    assert said == (
        "--forget (datasets.pairs.forget.where): no row has p9; see --data (datasets.pairs.source) and "
        "datasets.pairs.forgets"
    )
