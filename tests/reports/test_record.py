"""What a folder says about its run."""

import numpy as np
from PIL import Image

from onefield.reports.record import read_record


def test_facts_of_a_run(scored):
    record = read_record(scored.folder)
    assert record.step == 40
    assert record.seconds > 0
    assert record.scene_name == scored.scene.name
    assert [point[0] for point in record.curve("loss", "step")] == [10, 20, 30, 40]
    assert record.machine["cores"] >= 1
    assert record.evaluation["step"] == 40
    scores = [row["psnr"] for row in record.views]
    assert scores == sorted(scores)
    assert len(scores) == len(scored.scene.test_indices)


def test_pictures_are_those_that_were_scored(scored):
    record = read_record(scored.folder)
    for index in scored.scene.test_indices.tolist():
        view = scored.scene.image_names[index]
        pictures = record.pictures(view)
        difference = (pictures.truth.astype(float) - pictures.rendered.astype(float)) / 255
        psnr = -10 * np.log10(np.square(difference).mean())
        expected = next(row["psnr"] for row in record.views if row["view"] == view)
        assert abs(psnr - expected) < 0.05  # eight bits
    assert record.pictures("no such view") is None


def test_errors_are_faded_where_nothing_was_scored(folder):
    before = read_record(folder)
    view = str(before.views[0]["view"])
    evaluation = folder.read_evaluation("held-out")
    folder.write_evaluation(evaluation | {"scored_from": 0.5}, "held-out")
    record = read_record(folder)
    whole, half = before.pictures(view).error.astype(float), record.pictures(view).error.astype(float)
    middle = whole.shape[1] // 2
    np.testing.assert_array_equal(half[:, middle:], whole[:, middle:])
    np.testing.assert_allclose(half[:, :middle] - 128, (whole[:, :middle] - 128) / 4, atol=0.51)
    for nonsense in ("half", 7, None):
        folder.write_evaluation(evaluation | {"scored_from": nonsense, "protocol_details": nonsense}, "held-out")
        assert (read_record(folder).scored_from, read_record(folder).protocol_details) == (0.0, [])


def test_broken_pictures_are_none(folder):
    record = read_record(folder)
    view = str(record.views[0]["view"])
    for path in folder.evaluation.glob("*.png"):
        path.write_bytes(b"no picture")
    assert record.pictures(view) is None


def test_warnings_are_told_once(folder):
    folder.write_scene({"warnings": ["Two views are the same."]})
    with folder.log.open("a") as log:
        log.write("2026-01-01 10:00:00,123 WARNING onefield.training: Step 7 was skipped: the loss is not finite.\n")
        log.write("2026-01-01 10:00:01,123 WARNING onefield.training: Step 9 was skipped: the loss is not finite.\n")
        log.write("2026-01-01 10:00:02,000 INFO onefield.training: all is well\nand goes on\n")
        log.write("2026-01-01 10:00:03,000 ERROR onefield.data: bad\n")
    told = [text for text in read_record(folder).warnings if "kernel" not in text]
    assert told == [
        "Two views are the same.",
        "Step 7 was skipped: the loss is not finite. (2 like this)",
        "bad",
    ]


def test_a_view_that_was_met_exactly_comes_last(folder):
    evaluation = folder.read_evaluation("held-out")
    evaluation["per_view"][0]["psnr"] = None  # infinity, as JSON writes it
    folder.write_evaluation(evaluation, "held-out")
    assert read_record(folder).views[-1]["view"] == evaluation["per_view"][0]["view"]


def test_the_configuration_alone_suffices(folder):
    for path in (folder.scene, folder.machine, folder.metrics, folder.log, *folder.evaluation.iterdir()):
        path.unlink(missing_ok=True)
    for path in folder.checkpoints.rglob("state.json"):
        path.unlink()
    record = read_record(folder)
    assert (record.step, record.seconds, record.measured, record.evaluation) == (0, None, (), None)
    assert record.machine is None


def test_large_pictures_are_split_at_their_panels(folder):
    record = read_record(folder)
    view = str(record.views[0]["view"])
    panels = np.concatenate([np.full((4, 5, 3), value, dtype=np.uint8) for value in (10, 60, 200)], axis=1)
    for path in folder.evaluation.glob("*.png"):
        Image.fromarray(panels).save(path)
    pictures = record.pictures(view)
    assert (pictures.truth == 10).all()
    assert (pictures.rendered == 60).all()
    assert pictures.error.shape == (4, 5, 3)
