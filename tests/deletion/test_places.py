"""`multidelete purge`, `record` and `verify` from another working directory than that of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavis.cli.main import main as multidelete
from lavis.common.errors import ConfigError
from lavis.runners.run_dir import output_of
from tests.conftest import run_unlearning

RUN = {"method": "vlul", "output_dir": "output"}


@pytest.mark.parametrize("where", ["inside", "link", "absolute"])
def test_a_purge_from_elsewhere_finds_the_caches(trained_world, tmp_path: Path, monkeypatch, where: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / run_unlearning(trained_world, Path("output"), "vlul", ())
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(folder if where == "inside" else tmp_path / "empty")
    word = {"inside": ".", "link": "../link", "absolute": str(folder)}[where]
    assert list((tmp_path / "output" / "features").glob("*.safetensors"))
    assert multidelete(["purge", word, "--all"]) == 0
    assert not list((tmp_path / "output" / "features").glob("*.safetensors"))
    assert multidelete(["record", word]) == 0 and multidelete(["verify", word]) == 0
    assert not (folder / ".secret").exists()


def test_where_an_output_folder_is_found(tmp_path: Path, monkeypatch) -> None:
    output = tmp_path / "kept" / "output"
    folder = output / "unlearn-vlul" / "clip" / "task" / "16" / "seed-1"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder)
    for place, name in ((tmp_path, "link"), (folder, "."), (tmp_path, str(folder))):
        monkeypatch.chdir(place)
        assert output_of(Path(name), RUN) == output
    monkeypatch.chdir(tmp_path / "kept")
    assert output_of(folder, RUN) == Path("output")


def test_a_run_folder_with_a_name_of_its_own_lies_where_the_secret_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "request"
    folder.mkdir(parents=True)
    with pytest.raises(ConfigError, match="lies in no output folder"):
        output_of(folder, RUN)
    (folder / ".secret").touch()
    assert output_of(folder, RUN) == folder
