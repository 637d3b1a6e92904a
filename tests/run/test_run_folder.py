import pytest

from fedbbpt.config import make_config
from fedbbpt.errors import RunError
from fedbbpt.run.run_folder import check_new_run_folder


@pytest.mark.parametrize("out", ["data", "data/run", "data/cat/../runs/run-001"])
def test_a_run_is_not_among_its_data(tmp_path, monkeypatch, out):
    (tmp_path / "data" / "cat").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"inside the folder of the data, .*data; choose another --out"):
        check_new_run_folder(tmp_path / out, make_config({"task": {"name": "folder:data"}}))


def test_a_run_may_be_beside_its_data(tmp_path):
    (tmp_path / "data").mkdir()
    (table := tmp_path / "texts.csv").touch()
    check_new_run_folder(tmp_path / "data-run", make_config({"task": {"name": f"folder:{tmp_path / 'data'}"}}))
    check_new_run_folder(tmp_path / "run", make_config({"task": {"name": f"csv:{table}"}}))
    check_new_run_folder(tmp_path / "run", make_config({"task": {"name": "digits"}}))
