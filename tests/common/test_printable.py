"""Nothing foreign steers the terminal: escapes in file names, captions and names of models."""

from __future__ import annotations

import json
import logging

import pytest

from lavis.common import cli
from lavis.common.errors import DataError
from lavis.common.logger import json_line, setup_logging
from lavis.common.printable import printable
from lavis.report.tables import to_csv

STEERING = ["\x1b[2J", "\x9b31m", "\x07", "\r", "\x08", "\u202e", "\u2028", "\x7f", "\x1b]0;title\x07"]


@pytest.mark.parametrize("text", STEERING, ids=ascii)
def test_every_way_to_the_terminal_and_the_tables(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"a{text}b"

    def fail(_: object) -> int:
        raise DataError(f"image {name} cannot be decoded")

    setup_logging()
    logging.getLogger("lavis").warning("skipped: %s", name)
    cli.show(name)
    with pytest.raises(SystemExit):
        cli.run_main(fail)
    out, error = capsys.readouterr()
    row = {"name": name, "metrics": {name: 1.0}, "task": name, "backbone": "clip", "df_size": 1}
    for place in (out, error, to_csv([row]), json_line({name: name})):
        assert text[0] not in place and "b" in place
    assert json.loads(json_line({name: name})) == {name: name}


def test_ordinary_text_stays() -> None:
    assert printable("Zoë naïve 日本語 🙂\tx\ny") == "Zoë naïve 日本語 🙂\tx\ny"
