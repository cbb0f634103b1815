"""Trainings side by side, from what they leave in their folders."""

import pytest
import yaml

from dogcm.cli.app import run_command
from dogcm.components.errors import ConfigError
from dogcm.evaluation.comparison import compare_trainings, markdown
from dogcm.evaluation.score_table import write_csv
from dogcm.learning.training_log import LOG_FILE


def finished(folder, seed, loss, scores=(), folder_of_truth="truth"):
    """The folder of a training of ten updates, without a training."""
    folder.mkdir(parents=True)
    recipe = {"name": f"{folder.name}", "seed": seed, "corrector": {"network": {"width": 8 * seed}}}
    recipe["targets"] = {"folder": folder_of_truth, "validation": 0.1 * seed}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    head = "update,loss,gradient_norm,learning_rate,steps,seconds,windows,trouble\n"
    rows = [f"{n},{loss * 10 / n},1.0,0.1,4,36.0,1 2,\n" for n in range(1, 11)]
    rows.insert(5, "6,nan,nan,0.1,4,36.0,1 2,the loss is nan\n")
    (folder / LOG_FILE).write_text(head + "".join(rows))
    (folder / "validation.csv").write_text(
        f"update,loss,steps,windows\n0,9.0,4,3\n5,{loss},4,3\n10,{2 * loss},4,3\n"
    )
    if scores:
        write_csv([row(*s) for s in scores], folder / "evaluation.csv")
    return folder


def row(contender, lead, rmse):
    keys = {"variable": "temperature", "depth": "all", "lead_days": lead, "contender": contender}
    return keys | {"seeds": 1, "rmse": rmse, "rmse_std": 0.0, "acc": 1 - rmse}


@pytest.fixture
def two(tmp_path):
    first = [("trained", 2.0, 0.1), ("trained", 4.0, 0.2), ("uncorrected", 2.0, 0.3)]
    second = [("trained", 2.0, 0.15), ("trained", 8.0, 0.4)]
    return finished(tmp_path / "a" / "net", 1, 0.5, first), finished(
        tmp_path / "b" / "net", 2, 0.25, second
    )


def test_tables(two):
    found = compare_trainings(two)
    assert [r["run"] for r in found.summaries()] == ["a/net", "b/net"]
    one = found.summaries()[0]
    assert (one["updates"], one["validation"], one["of update"], one["loss"]) == (10, 0.5, 5, 0.5)
    assert one["hours"] == pytest.approx(0.1)
    differing = {r["key"]: (r["a/net"], r["b/net"]) for r in found.differences()}
    assert differing == {
        "seed": (1, 2),
        "corrector.network.width": (8, 16),
        "targets.validation": (0.1, 0.2),
    }
    # The lead that both have; the reference of the first.
    expected = {"variable": "temperature", "days": 2.0, "a/net": 0.1, "b/net": 0.15}
    assert found.scores() == [expected | {"uncorrected": 0.3}]
    assert found.scores("acc")[0]["a/net"] == 0.9 and found.notes() == []
    assert markdown(found.scores()).splitlines()[0].startswith("| variable    | days | a/net |")


def test_what_does_not_compare_is_told(two, tmp_path):
    other = finished(tmp_path / "other", 1, 1.0, folder_of_truth="elsewhere")
    notes = compare_trainings([*two, other]).notes()
    assert notes[0].startswith("not evaluated yet") and notes[0].endswith("other")
    assert "not learn from the same truth" in notes[1]


def test_command_and_page(two, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert run_command(["compare", *map(str, two), "--html", str(page)]) == 0
    said = capsys.readouterr().out
    assert "corrector.network.width" in said and "0.15" in said
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 3 and "<td>0.15</td>" in text
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_folders_that_are_no_trainings_are_refused(two, tmp_path):
    with pytest.raises(ConfigError, match="is no output folder of a training"):
        compare_trainings([two[0], tmp_path])
    with pytest.raises(ConfigError, match="named twice"):
        compare_trainings([two[0], two[0]])
