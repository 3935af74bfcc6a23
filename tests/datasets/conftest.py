"""The noise images that these tests read."""

from tests.noise import configure, world  # noqa: F401 - fixtures
