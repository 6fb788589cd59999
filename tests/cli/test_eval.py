"""``pydlx eval``: what it prints, writes and refuses."""

import gzip
import json
import warnings

import numpy as np
import pytest
import torch
from metrics.coco_samples import data_set, found, person

from pydlx import metrics
from pydlx.cli import main
from pydlx.cli.eval import report
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


def results(capsys, *words):
    """The numbers of a command that prints JSON."""
    code, out, _ = printed(capsys, *words, "--json")
    assert code == 0
    return json.loads(out)


def test_per_class_as_json(files, capsys):
    content = results(capsys, "keypoints", "truth.json", "found.json.gz", "--per-class")
    assert content["per_class"] == {"person": content["results"]["AP"]}
    assert "per_class" not in results(capsys, "keypoints", "truth.json", "found.json.gz")


def test_max_detections(files, capsys):
    """Of two detections of an image the second one is right."""
    (files / "found.json").write_text(json.dumps([found(400), found(score=0.5)]))
    words = "keypoints", "truth.json", "found.json"
    assert results(capsys, *words)["results"]["AR"] == 0.5
    assert results(capsys, *words, "--max-detections", "1")["results"]["AR"] == 0
    for wrong, recall in ((19, 0.5), (20, 0.0)):
        (files / "found.json").write_text(json.dumps([*wrong * [found(400)], found(score=0.5)]))
        assert results(capsys, *words)["results"]["AR"] == recall, "20 count"


def test_pycocotools_loses_id_0(files, capsys):
    (files / "truth.json").write_text(json.dumps(data_set(person(0), person(1, image=2), images=2)))
    (files / "found.json").write_text(json.dumps([found(), found(image=2)]))
    words = "keypoints", "truth.json", "found.json"
    assert results(capsys, *words)["results"]["AR"] == 1
    assert results(capsys, *words, "--pycocotools")["results"]["AR"] == 0.5


def test_layouts(files, capsys):
    points = [float(value) for i in range(14) for value in (100 + 10 * i, 100 + 7 * i, 2)]
    (files / "truth.json").write_text(json.dumps(data_set(person(1, keypoints=points, num_keypoints=14))))
    (files / "found.json").write_text(json.dumps([found() | {"keypoints": points}]))
    crowded = results(capsys, "keypoints", "truth.json", "found.json", "--layout", "crowdpose")["results"]
    assert list(crowded)[-3:] == ["AP_easy", "AP_medium", "AP_hard"]


def test_all_categories_as_one(files, capsys):
    truth = data_set(person(1)) | {"categories": [{"id": 1}, {"id": 2}]}
    (files / "truth.json").write_text(json.dumps(truth))
    (files / "boxes.json").write_text(json.dumps([found(bbox=[90, 90, 80, 80], category_id=2)]))
    words = "boxes", "truth.json", "boxes.json", "--per-class"
    assert results(capsys, *words)["per_class"] == {"1": 0, "2": -1}
    assert results(capsys, *words, "--class-agnostic")["per_class"] == {"all": pytest.approx(1)}


def test_equal_warnings_are_said_once(files, capsys):
    """An image listed twice, in the truth of either of two evaluations."""
    with report.warnings_on_stderr():
        for text in ("a", "b", "a"):
            warnings.warn(text, stacklevel=1)
        warnings.warn("not for users", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: a\nwarning: b\n"


@pytest.mark.parametrize(("bad", "told"), [(3, 3), (5, 3)])
def test_the_first_skipped_records_are_told(files, capsys, bad, told):
    (files / "bad.json").write_text(json.dumps([found(), *(found(image=9) for _ in range(bad))]))
    _, _, err = printed(capsys, "keypoints", "truth.json", "bad.json", "--json", "--skip-bad")
    lines = err.splitlines()
    assert lines[0] == f"skipped {bad}:"
    assert sum("image_id 9 is not among" in line for line in lines) == told
    assert lines[-1] == "  and 2 more" if bad > told else len(lines) == 1 + told


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
        (["keypoints", "nowhere.json", "found.json.gz"], "TRUTH: no such file: 'nowhere.json'"),
        (["keypoints", "truth.json", "found.json.gz", "--sigmas", "a,b"], "positive numbers with commas"),
        (["keypoints", "truth.json", "found.json.gz", "--sigmas", "0.1,0.1"], "must have 6 numbers"),
        (["keypoints", "truth.json", "found.json.gz", "--plot", "curves.mp3"], "the suffix must be one of"),
        (["keypoints", "truth.json", "found.json.gz", "--plot", "nowhere/curves.png"], "cannot write"),
        (["keypoints", "truth.json", "truth.json"], "are truth and detections swapped?"),
        (["boxes", "truth.json"], "required: PREDICTIONS"),
        (["everything", "a", "b"], "invalid choice"),
        ([], "required: KIND"),
        (["segmentation", "truth", "found"], "required: --classes"),
        (["segmentation", "nowhere", "found", "--classes", "3"], "no such folder: 'nowhere'"),
        (["images", "nowhere.png", "found.png"], "TRUTH: no such file or folder: 'nowhere.png'"),
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


@pytest.mark.parametrize("options", [{"zero-division": 1}, {"average": "weighted"}, {"level": "image"}])
def test_options_of_segmentation(label_maps, capsys, options):
    """Class 3 is in neither map, and image b is mostly of class 0."""
    labels = _read(label_maps / "truth" / "b.png")
    labels[8:] = 0
    pytest.importorskip("PIL.Image").fromarray(labels).save(label_maps / "truth" / "b.png")
    words = ["segmentation", "truth", "found", "--classes", "4", "--ignore", "255"]
    ((option, value),) = options.items()
    expected = metrics.ConfusionMetrics(4, 255, **{option.replace("-", "_"): value})
    plain = metrics.ConfusionMetrics(4, 255)
    for name in "ab":
        maps = [torch.from_numpy(_read(label_maps / folder / f"{name}.png"))[None] for folder in ("found", "truth")]
        expected.update(*maps)
        plain.update(*maps)
    iou = results(capsys, *words, f"--{option}", str(value))["results"]["mean_iou"]
    assert iou == pytest.approx(float(expected.compute()["mean_iou"]))
    assert iou != pytest.approx(float(plain.compute()["mean_iou"]))


def test_labels_that_are_no_class(label_maps, capsys):
    words = ["segmentation", "truth", "found", "--classes", "3"]
    code, _, err = printed(capsys, *words)
    assert code == 2
    assert "a: " in err
    assert "255" in err
    _, out, err = printed(capsys, *words, "--skip-bad", "--json")
    assert "skipped 2:" in err
    assert json.loads(out)["images"] == 0


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


def rows_of(capsys, *words):
    """What the rows of a table of the five measures are called."""
    code, out, _ = printed(capsys, *words)
    assert code == 0
    return [line.rsplit(maxsplit=5)[0] for line in out.splitlines()[1:]]


def test_folders_of_images(tmp_path, capsys):
    """Every measure of every picture, and their means; a picture of another size is named or skipped."""
    pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (2, 20, 24)).astype(np.uint8) for name in ("a", "b")}
    for side, folder in enumerate(("truth", "found")):
        (tmp_path / folder).mkdir()
        for name, pair in images.items():
            write_image(tmp_path / folder / f"{name}.png", pair[side])
    words = "images", str(tmp_path / "truth"), str(tmp_path / "found")
    content = results(capsys, *words, "--per-image")
    for key in ("psnr", "ssim", "mse", "rmse", "mae"):
        each = {name: getattr(metrics, key)(*pair) for name, pair in images.items()}
        assert {name: numbers[key] for name, numbers in content["per_image"].items()} == pytest.approx(each)
        assert content["results"][key] == pytest.approx(sum(each.values()) / 2)
    assert "per_image" not in results(capsys, *words)
    assert rows_of(capsys, *words) == ["mean of 2"]
    assert rows_of(capsys, *words, "--per-image") == ["a", "b", "mean of 2"]
    alone = "images", str(tmp_path / "truth" / "a.png"), str(tmp_path / "found" / "a.png")
    assert rows_of(capsys, *alone) == rows_of(capsys, *alone, "--per-image") == ["a.png"]
    write_image(tmp_path / "found" / "a.png", images["a"][1][:10])
    code, out, err = printed(capsys, *words)
    assert (code, out) == (2, "")
    assert "found/a.png: " in err
    skipping = results(capsys, *words, "--skip-bad")
    assert (skipping["images"], skipping["skipped"]) == (1, 1)
    assert skipping["results"]["mae"] == pytest.approx(metrics.mae(*images["b"]))


def test_equal_pictures_are_counted_and_left_out_of_the_mean(tmp_path, capsys):
    pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (2, 20, 24)).astype(np.uint8)
    for folder, images in (("truth", (x, x)), ("found", (x, y))):
        (tmp_path / folder).mkdir()
        for name, image in zip("ab", images, strict=True):
            write_image(tmp_path / folder / f"{name}.png", image)
    words = "images", str(tmp_path / "truth"), str(tmp_path / "found")
    content = results(capsys, *words)
    assert (content["images"], content["equal"]) == (2, 1)
    assert content["results"]["psnr"] == pytest.approx(metrics.psnr(y, x))
    _, _, err = printed(capsys, *words)
    assert err.splitlines()[-1] == "1 of 2 pictures equals the truth and is left out of the mean PSNR"


@pytest.mark.parametrize("colours", [1, 3])
def test_colours_are_compared_alone(tmp_path, capsys, colours):
    pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (2, 20, 24, colours)).astype(np.uint8)
    alpha = np.full((20, 24, 1), 255, np.uint8)
    expected = metrics.psnr(x, y)
    for transparent in (False, True):
        write_image(tmp_path / "x.png", np.concatenate([x, alpha], -1))
        write_image(tmp_path / "y.png", y if colours == 3 else y[..., 0])
        code, out, err = printed(capsys, "images", str(tmp_path / "x.png"), str(tmp_path / "y.png"), "--json")
        assert code == 0
        assert json.loads(out)["results"]["psnr"] == pytest.approx(expected)
        assert ("transparency" in err) == transparent
        alpha[3, 4] = 0


def _read(path):
    return np.array(pytest.importorskip("PIL.Image").open(path))
