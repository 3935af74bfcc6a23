"""The logger's stream."""

from __future__ import annotations

import io
import sys

import pytest

from lavis.common.logger import get_logger, setup_logging


def test_messages_go_to_the_current_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    setup_logging()
    get_logger().info("to the first")
    monkeypatch.setattr(sys, "stderr", second)
    output = first.getvalue()
    first.close()
    get_logger().info("to the second")
    assert output.endswith("to the first\n")
    assert second.getvalue().endswith(" to the second\n") and "Traceback" not in second.getvalue()
