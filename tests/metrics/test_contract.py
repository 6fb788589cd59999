"""torchmetrics' contract, held for every metric class of pydlx.metrics; two processes have a file of their own."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings

import pytest
import torch
import torchmetrics
from metrics.contract_cases import CASES, filled

import pydlx.metrics
from pydlx.metrics import MAE, MSE, PSNR, BoxAP, ConfusionMetrics, EntityScore, KeypointAP, SquadScore

KWARGS = {
    "compute_on_cpu": True,
    "compute_with_cache": False,
    "dist_sync_fn": print,
    "dist_sync_on_step": True,
    "distributed_available_fn": lambda: False,
    "process_group": None,
    "sync_on_compute": False,
}
each = pytest.mark.parametrize("name", CASES)


def same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=0, equal_nan=True)


def test_every_class_has_an_entry():
    classes = {name for name, kind in vars(pydlx.metrics).items() if inspect.isclass(kind) and is_metric(kind)}
    assert classes == {name.split()[0] for name in CASES}
    assert len(classes) == 16


def is_metric(kind):
    return issubclass(kind, torchmetrics.Metric)


@each
def test_attributes(name):
    metric = CASES[name].make()
    assert type(metric.is_differentiable) is bool
    assert metric.higher_is_better is not any(kind in name for kind in ("MSE", "MAE"))
    assert metric.full_state_update is False


@each
def test_takes_preds_and_target_by_keyword_and_all_keywords_of_torchmetrics(name):
    case = CASES[name]
    metric = case.make(**KWARGS)
    for preds, target in case.batches:
        metric.update(preds=preds, target=target)
    same(metric.compute(), filled(name).compute())
    with pytest.raises(ValueError, match="Unexpected keyword arguments: `no_such_option`"):
        case.make(no_such_option=1)


@each
def test_results_are_scalars_under_names(name):
    metric = filled(name)
    result = metric.compute()
    for key, value in result.items() if isinstance(result, dict) else [(name, result)]:
        assert isinstance(key, str)
        assert isinstance(value, torch.Tensor)
        assert value.shape == ()
        assert value.device == metric.device
        assert value.dtype in (torch.float64, torch.int64)


@each
def test_forward_gives_the_batch_and_adds_up(name):
    """By one update of each batch; with dist_sync_on_step torchmetrics makes two."""
    case = CASES[name]
    for options in ({}, {"compute_on_cpu": True}, {"dist_sync_on_step": True}):
        metric = case.make(**options)
        for batch in case.batches:
            same(metric(*batch), filled(name, [batch]).compute())
        same(metric.compute(), filled(name).compute())


@each
def test_forward_has_a_gradient_where_the_class_says_so(name):
    case = CASES[name]
    metric = case.make()
    if not metric.is_differentiable:
        return
    preds, target = case.batches[0]
    preds = preds.clone().requires_grad_()
    metric(preds, target).backward()
    assert preds.grad.abs().sum() > 0
    metric.update(preds, target)
    assert not metric.compute().requires_grad


@each
def test_reset_forgets(name):
    metric, case = filled(name), CASES[name]
    metric.compute()
    metric.reset()
    metric.update(*case.batches[1])
    same(metric.compute(), filled(name, case.batches[1:2]).compute())


@each
def test_nothing_and_empty_batches_give_a_result(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nothing = CASES[name].make().compute()
    same(filled(name, [CASES[name].empty]).compute(), nothing)
    same(filled(name, [CASES[name].empty, *CASES[name].batches]).compute(), filled(name).compute())


@each
def test_states_merge(name):
    batches, whole = CASES[name].batches, filled(name).compute()
    for incoming in (filled(name, batches[:1]), filled(name, batches[:1]).metric_state):
        metric = filled(name, batches[1:])
        metric.compute()  # which must not be what compute gives afterwards
        metric.merge_state(incoming)
        same(metric.compute(), whole)
    fresh = CASES[name].make()
    fresh.merge_state(filled(name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that nothing was taken in
        same(fresh.compute(), whole)


@each
def test_other_metrics_do_not_merge(name):
    case = CASES[name]
    if case.other:
        with pytest.raises(ValueError, match=r"incoming_state must be of a metric made like .*, got "):
            filled(name).merge_state(filled(name, **case.other))


@each
def test_checkpoints(name):
    """States in a checkpoint are not those of the metric that was loaded from it, though torchmetrics shares them."""
    metric, batches = filled(name, CASES[name].batches[:2]), CASES[name].batches
    assert not metric.state_dict()
    metric.persistent(True)
    saved = metric.state_dict()
    before = copy.deepcopy(saved)
    for _ in range(2):
        loaded = CASES[name].make()
        loaded.persistent(True)
        loaded.load_state_dict(saved)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            same(loaded.compute(), metric.compute())
        loaded.update(*batches[2])
        same(loaded.compute(), filled(name).compute())
    assert saved.keys() == before.keys()
    same(dict(saved), dict(before))


def test_checkpoints_of_other_metrics_are_refused():
    metric = ConfusionMetrics(3)
    metric.persistent(True)
    with pytest.raises(RuntimeError, match=r"matrix must have shape \(2, 2\), got \(3, 3\)"):
        ConfusionMetrics(2).load_state_dict(metric.state_dict())
    with pytest.raises(RuntimeError, match=r"made_by must be that of a metric made like .*ignore_index=255"):
        ConfusionMetrics(3, 255).load_state_dict(metric.state_dict())


@each
def test_copies_and_pickles(name):
    metric, case = filled(name, CASES[name].batches[:2]), CASES[name]
    result = metric.compute()
    for other in (copy.deepcopy(metric), metric.clone(), pickle.loads(pickle.dumps(metric))):
        same(other.compute(), result)
        assert repr(other) == repr(metric)
        other.update(*case.batches[2])
        same(other.compute(), filled(name).compute())
    same(metric.compute(), result)


@each
def test_compute_on_cpu(name):
    metric = filled(name, compute_on_cpu=True)
    lists = [state for state in metric.metric_state.values() if isinstance(state, list)]
    assert all(part.device.type == "cpu" for state in lists for part in state)
    same(metric.compute(), filled(name).compute())


@each
def test_conversions_of_a_model_leave_states_and_results(name):
    metric = filled(name)
    dtypes = {key: dtype_of(state) for key, state in metric.metric_state.items()}
    model = torch.nn.ModuleDict({"metric": metric})
    for convert in (model.half, model.float, lambda: model.to(torch.bfloat16), lambda: model.to("cpu")):
        convert()
        assert {key: dtype_of(state) for key, state in metric.metric_state.items()} == dtypes
        metric._computed = None
        same(metric.compute(), filled(name).compute())


def dtype_of(state):
    return {part.dtype for part in state} if isinstance(state, list) else state.dtype


@each
def test_set_dtype_chooses_that_of_results(name):
    metric, expected = filled(name), filled(name).compute()
    metric.compute()
    assert metric.set_dtype(torch.float32) is metric
    assert metric.dtype is torch.float32
    for key, value in named(metric.compute()).items():
        exact = named(expected)[key]
        assert value.dtype is (torch.float32 if exact.is_floating_point() else torch.int64)
        torch.testing.assert_close(value.double(), exact.double(), rtol=1e-6, atol=0, equal_nan=True)


def named(result):
    return dict(result) if isinstance(result, dict) else {"value": result}


@each
def test_moves_to_another_device(name):
    metric = filled(name).to("meta")
    parts = [part for state in metric.metric_state.values() for part in (state if isinstance(state, list) else [state])]
    assert {part.device.type for part in parts} == {"meta"}
    assert metric.device.type == "meta"
    metric.reset()
    tensors = [state for state in metric.metric_state.values() if not isinstance(state, list)]
    assert {state.device.type for state in tensors} <= {"meta"}


@each
def test_options_are_attributes_and_shown(name):
    metric = CASES[name].make(**CASES[name].other)
    parameters = inspect.signature(type(metric)).parameters
    for key, value in CASES[name].other.items():
        default = parameters[key].default
        assert getattr(metric, key) == value
        assert (f"{key}={value!r}" in repr(metric)) == (value != default)
    assert set(metric.options()) == {key for key in parameters if key != "kwargs"}
    assert repr(metric).startswith(f"{type(metric).__name__}(")


def test_shown_options():
    assert repr(MSE()) == "MSE()"
    assert repr(PSNR(1.0, level="image")) == "PSNR(data_range=1.0, level='image')"
    assert repr(BoxAP(iou := (1, 5), class_agnostic=True)) == f"BoxAP(max_detections={iou}, class_agnostic=True)"
    assert repr(KeypointAP(torch.tensor([0.5, 0.25]))) == "KeypointAP(sigmas=(0.5, 0.25))"
    expected = "ConfusionMetrics(num_classes=2, zero_division=nan, class_names=['a', 'b'])"
    assert repr(ConfusionMetrics(2, zero_division=float("nan"), class_names=["a", "b"])) == expected


@each
def test_plots(name, tmp_path):
    pytest.importorskip("matplotlib")
    metric = filled(name)
    first, second = (filled(name, [batch]).compute() for batch in CASES[name].batches[:2])
    for arguments in ((), (first,), ([first, second],)):
        figure, axes = metric.plot(*arguments)
        assert axes.figure is figure
    assert metric.plot(first, axes, path=tmp_path / "result.svg")[1] is axes
    assert len(axes.lines) >= 2
    assert [file.name for file in tmp_path.iterdir()] == ["result.svg"]


@each
def test_collections_and_trackers(name):
    case = CASES[name]
    collection = torchmetrics.MetricCollection({"first": case.make(), "second": case.make()})
    tracker = torchmetrics.MetricTracker(torchmetrics.MetricCollection({name: case.make()}), maximize=True)
    tracker_of_one = torchmetrics.MetricTracker(case.make())
    for preds, target in case.batches:
        collection.update(preds=preds, target=target)
        for kind in (tracker, tracker_of_one):
            kind.increment()
            kind.update(preds, target)
    expected = named(filled(name).compute())
    found = collection.compute()
    assert len(found) == 2 * len(expected)
    for metric in ("first", "second"):
        for key, value in expected.items():
            same(found[metric if key == "value" else f"{metric}_{key}"], value)
    steps = [named(filled(name, [batch]).compute()) for batch in case.batches]
    values, places = tracker.best_metric(return_step=True)
    for key in expected:
        series = torch.stack([step[key] for step in steps])
        same(named(tracker_of_one.compute_all())[key], series)
        if not series.isnan().any():
            best = series.max(0)
            own = name if key == "value" else key
            assert (values[own], places[own]) == (best.values.item(), best.indices.item())


@each
def test_groups_hold_metrics_that_keep_the_same_alone(name):
    """With other options, `update` keeps something else, though perhaps not of the first batch."""
    case = CASES[name]
    same_options = torchmetrics.MetricCollection({"a": case.make(), "b": case.make()})
    same_options.update(*case.empty)
    assert len(same_options.compute_groups) == 1
    if case.other:
        others = torchmetrics.MetricCollection({"a": case.make(), "b": case.make(**case.other)})
        others.update(*case.empty)
        assert len(others.compute_groups) == 2


def test_groups_after_a_first_batch_on_which_metrics_agree():
    """torchmetrics compares states once, after the first batch, and by their values."""
    metrics = {"all": ConfusionMetrics(3), "some": ConfusionMetrics(3, 2), "zero": ConfusionMetrics(3, zero_division=0)}
    collection = torchmetrics.MetricCollection(metrics)
    for labels in ([0, 1], [0, 2]):
        collection.update(torch.tensor([[0, 0]]), torch.tensor([labels]))
    assert [int(metric.matrix.sum()) for metric in (collection["all"], collection["some"])] == [4, 3]
    assert sorted(collection.compute_groups.values()) == [["all", "zero"], ["some"]]

    answers = torchmetrics.MetricCollection({"first": SquadScore(), "second": SquadScore("2.0")})
    for preds in ("dog", "the"):
        answers.update([preds], [["a dog" if preds == "dog" else "an"]])
    assert (answers["first"].compute()["f1"], answers["second"].compute()["f1"]) == (50, 100)

    errors = torchmetrics.MetricCollection([MSE(), MAE()])
    for value in (0.0, 0.5):
        errors.update(torch.full((1, 1, 2, 2), value), torch.zeros(1, 1, 2, 2))
    assert {key: value.item() for key, value in errors.compute().items()} == {"MSE": 0.125, "MAE": 0.25}

    names = torchmetrics.MetricCollection({"a": EntityScore(["A", "B"]), "b": EntityScore(["B", "A"])})
    names.update([[]], [[]])
    names.update([[("A", 0, 0)]], [[("A", 0, 0)]])
    assert names["b"].compute()["type_f1"].tolist() == [0, 1]


def test_results_by_class(tmp_path):
    scores = filled("ConfusionMetrics").compute()
    torch.save(scores, tmp_path / "scores.pt")
    for copied in (torch.load(tmp_path / "scores.pt"), copy.deepcopy(scores)):
        assert torch.equal(copied["iou"], scores["iou"])
    assert scores["iou"].tolist() == [scores[f"iou/{name}"].item() for name in ("road", "sky", "car")]
    assert "iou" not in scores
    with pytest.raises(KeyError, match="no such score"):
        scores["no such score"]
    one = EntityScore(["A"])
    one.update([[("A", 0, 0)]], [[("A", 0, 0)]])
    assert one.compute()["type_f1"].tolist() == [1]
    repeated = ConfusionMetrics(3, class_names=["door", "wall", "door"])
    repeated.update(torch.tensor([[0]]), torch.tensor([[0]]))
    assert {"iou/door (0)", "iou/wall", "iou/door (2)"} < set(repeated.compute())


def test_what_a_row_of_results_shows_in_a_picture():
    pytest.importorskip("matplotlib")
    metric = filled("ConfusionMetrics")
    _, axes = metric.plot([metric.compute()] * 3)
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["pixel_accuracy", "mean_accuracy", "mean_iou", "mean_dice", "frequency_weighted_iou"]
    assert all(len(line.get_xdata()) == 3 for line in axes.lines)
