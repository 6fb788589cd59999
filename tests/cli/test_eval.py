"""``pydlx eval``: what it prints, writes and refuses."""

import gzip
import json

import numpy as np
import pytest
from metrics.coco_samples import data_set, found, person

from pydlx import metrics
from pydlx.cli import main
from pydlx.files import write_image
from pydlx.metrics import evaluate_keypoints


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder to work in, with a truth and detections of it."""
    monkeypatch.chdir(tmp_path)
    truth = data_set(person(1), person(2, image=2), images=2)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json.gz").write_bytes(gzip.compress(json.dumps([found(8), found(400, image=2)]).encode()))
    return tmp_path


def printed(capsys, *words):
    """The exit code, stdout and stderr of a command."""
    code = main(["eval", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_keypoints_as_a_table(files, capsys):
    code, out, err = printed(capsys, "keypoints", "truth.json", "found.json.gz", "--per-keypoint", "--per-class")
    assert (code, err) == (0, "")
    lines = dict(line.rsplit(maxsplit=1) for line in out.splitlines() if line)
    assert {"AP", "ARL", "person", "left knee"} <= lines.keys()
    assert lines["APM"] == "-"
    assert 0 < float(lines["AP"]) < 1
    assert float(lines["nose"]) < float(lines["left hip"])


def test_keypoints_as_json(files, capsys):
    code, out, _ = printed(capsys, "keypoints", "truth.json", "found.json.gz", "--json", "--per-keypoint")
    content = json.loads(out)
    assert code == 0
    assert content["results"] == evaluate_keypoints(files / "truth.json", files / "found.json.gz")
    assert content["skipped"] == 0
    assert len(content["per_keypoint"]) == 17


def test_curves_are_drawn(files, capsys):
    code, out, _ = printed(capsys, "keypoints", "truth.json", "found.json.gz", "--plot", "curves.png")
    assert code == 0
    assert "drawn to curves.png" in out
    assert (files / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_options_of_keypoints(files, capsys):
    def ap(*options):
        return json.loads(printed(capsys, "keypoints", "truth.json", "found.json.gz", "--json", *options)[1])["results"]

    assert ap("--no-area")["AP"] < ap()["AP"]
    wide = ",".join(["0.5"] * 17)
    assert ap("--sigmas", wide)["AP"] > ap()["AP"]


def test_boxes(files, capsys):
    code, out, _ = printed(capsys, "boxes", "truth.json", "found.json.gz")
    assert code == 2
    boxes = [found(bbox=[90, 90, 80, 80]), found(score=0.1, bbox=[0, 0, 5, 5])]
    (files / "boxes.json").write_text(json.dumps(boxes))
    code, out, err = printed(capsys, "boxes", "truth.json", "boxes.json", "--per-class", "--plot", "curves.svg")
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if line)
    assert lines["AR100"] == "0.5000"
    assert lines["person"] == lines["AP"]
    assert (files / "curves.svg").exists()


@pytest.mark.parametrize("flag", [[], ["--skip-bad"]])
def test_a_bad_record(files, capsys, flag):
    (files / "bad.json").write_text(json.dumps([found(), found(image=9)]))
    code, out, err = printed(capsys, "keypoints", "truth.json", "bad.json", "--json", *flag)
    assert "bad.json: detection [1] (image_id 9): image_id 9 is not among the images of the truth" in err
    if flag:
        assert code == 0
        assert json.loads(out)["skipped"] == 1
        assert "skipped 1:" in err
    else:
        assert code == 2
        assert out == ""
        assert len(err.splitlines()) == 1


def test_warnings_take_a_line(files, capsys):
    (files / "odd.json").write_text(json.dumps(data_set(person(1, area=0.0))))
    (files / "found.json").write_text(json.dumps([found()]))
    code, _, err = printed(capsys, "keypoints", "odd.json", "found.json")
    assert code == 0
    assert err.startswith("warning: 1 annotations with keypoints have an area of 0")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["keypoints", "nowhere.json", "found.json.gz"], "no such file: 'nowhere.json'"),
        (["keypoints", "truth.json", "found.json.gz", "--sigmas", "a,b"], "numbers with commas"),
        (["keypoints", "truth.json", "found.json.gz", "--sigmas", "0.1,0.1"], "must have 6 numbers"),
        (["keypoints", "truth.json", "found.json.gz", "--plot", "curves.mp3"], "the suffix must be one of"),
        (["keypoints", "truth.json", "found.json.gz", "--plot", "nowhere/curves.png"], "cannot write"),
        (["keypoints", "truth.json", "truth.json"], "expected `array`, got `object`"),
        (["boxes", "truth.json"], "required: PREDICTIONS"),
        (["everything", "a", "b"], "invalid choice"),
        ([], "required: KIND"),
        (["segmentation", "truth", "found"], "required: --classes"),
        (["segmentation", "nowhere", "found", "--classes", "3"], "no such folder: 'nowhere'"),
        (["images", "nowhere.png", "found.png"], "no such file: 'nowhere.png'"),
    ],
)
def test_bad_input_takes_one_line(files, capsys, words, message):
    code, out, err = printed(capsys, *words)
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.fixture
def label_maps(tmp_path, monkeypatch):
    """Two pairs of label maps of three classes, 255 for what is not known."""
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder in ("truth", "found"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            labels = rng.integers(0, 3, (20, 30)).astype(np.uint8)
            if folder == "truth":
                labels[:4] = 255
            image.fromarray(labels).save(tmp_path / folder / f"{name}.png")
    return tmp_path


def test_segmentation(label_maps, capsys):
    words = ["segmentation", "truth", "found", "--classes", "3", "--ignore", "255"]
    code, out, err = printed(capsys, *words, "--names", "sky,road,car", "--plot", "matrix.png")
    assert (code, err) == (0, "")
    assert "road" in out
    assert (label_maps / "matrix.png").exists()
    content = json.loads(printed(capsys, *words, "--json")[1])
    truth, prediction = (
        np.concatenate([_read(label_maps / folder / f"{name}.png") for name in "ab"]) for folder in ("truth", "found")
    )
    known = truth != 255
    assert content["results"]["pixel_accuracy"] == pytest.approx((truth == prediction)[known].mean())
    assert content["images"] == 2


def test_labels_that_are_no_class(label_maps, capsys):
    words = ["segmentation", "truth", "found", "--classes", "3"]
    code, _, err = printed(capsys, *words)
    assert code == 2
    assert "a: " in err
    assert "255" in err
    _, _, err = printed(capsys, *words, "--skip-bad", "--json")
    assert "skipped 2:" in err


def test_images_by_convention(tmp_path, capsys):
    """Each gives another SSIM, that of the metric; the default is the paper's."""
    pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (24, 30, 3)).astype(np.uint8)
    y = np.clip(x + rng.normal(0, 30, x.shape), 0, 255).astype(np.uint8)
    paths = [str(tmp_path / name) for name in ("x.png", "y.png")]
    for path, image in zip(paths, (x, y), strict=True):
        write_image(path, image)

    def measured(*options):
        code, out, _ = printed(capsys, "images", *paths, "--json", *options)
        assert code == 0
        return json.loads(out)["results"]

    found = {name: measured("--convention", name)["ssim"] for name in ("wang2004", "skimage", "torchmetrics")}
    assert found == {name: pytest.approx(metrics.ssim(x, y, convention=name)) for name in found}
    assert len({round(value, 4) for value in found.values()}) == 3
    assert measured()["ssim"] == found["wang2004"]
    assert measured("--data-range", "510")["psnr"] == pytest.approx(metrics.psnr(x, y, 510))


def _read(path):
    return np.array(pytest.importorskip("PIL.Image").open(path))
