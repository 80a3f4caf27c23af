"""Importing ONNX files: what their versions take and give, and the reason where there can be none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

import sabia
from sabia.__main__ import main
from sabia.contract import reference as references
from sabia.contract.errors import InvalidSignature
from sabia.contract.signature import Bins
from sabia.publishing.drafting import newest_bins
from sabia.publishing.importing.draft import choices_of, imported
from sabia.publishing.importing.errors import ImportRefused
from sabia.publishing.importing.weights import EMBEDDED_BYTES
from sabia.registry.claim import Change, Draft, publish
from sabia.serving.inference.loading import check_draft
from sabia.store.objects import Store
from tests.graphs import End, a_graph, a_network, save, save_rows

RNG = np.random.default_rng(7)
ROWS = RNG.standard_normal((30, 4), dtype=np.float32)
FLOAT, DOUBLE, INT64, STRING = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING


def answers(model: ModelProto, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
    """What ONNX Runtime answers with the model as it was before."""
    return [np.asarray(each) for each in onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)]


def run(draft: Draft, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What ONNX Runtime answers with the version's graph, which the server's code opens as well."""
    check_draft(draft)
    session = onnxruntime.InferenceSession(str(draft.files["model.onnx"]))
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Thirty rows of four named features."""
    return save_rows(tmp_path / "rows.parquet", **{name: ROWS[:, at] for at, name in enumerate("abcd")})


def test_a_network_over_one_matrix_is_served_with_named_features(store: Store, tmp_path: Path, rows: Path) -> None:
    network = a_network()
    (expected,) = answers(network, x=ROWS)
    given = save_rows(tmp_path / "expected.parquet", y=expected[:, 0])
    with imported("net", save(network, tmp_path / "net.onnx"), reference=rows, expected=given) as draft:
        manifest = publish(store, draft).manifest
    assert [each.name for each in manifest.inputs] == ["a", "b", "c", "d"]
    assert manifest.inputs[0].minimum == ROWS[:, 0].min()
    assert manifest.signature.primary_output.role == "probability"
    assert manifest.metrics.parity_max_error == 0
    predicted = sabia.load(store, "net", "1.0").predict(ROWS[:3].astype(np.float64))
    np.testing.assert_allclose(predicted, expected[:3, 0], rtol=1e-6)


def test_other_weights_are_a_minor_and_another_graph_is_a_major(store: Store, tmp_path: Path, rows: Path) -> None:
    found = []
    for network in (a_network(), a_network(seed=1), a_network(last="Tanh"), a_network()):
        with imported("net", save(network, tmp_path / "net.onnx"), reference=rows) as draft:
            published = publish(store, draft)
            found.append((published.manifest.version, published.change))
    assert found == [
        ("1.0", Change.FIRST),
        ("1.1", Change.STATE),
        ("2.0", Change.METHODS),
        ("1.0", Change.NOTHING),
    ]


def test_probabilities_of_classes_get_a_label_that_is_counted(tmp_path: Path, rows: Path) -> None:
    network = a_network(answers=3, last="Softmax")
    (expected,) = answers(network, x=ROWS)
    given = save_rows(tmp_path / "expected.parquet", y=expected)
    model = save(network, tmp_path / "net.onnx")
    with imported("net", model, reference=rows, expected=given, choices=choices_of(classes="cat,dog,owl")) as draft:
        assert [(each.name, each.role, each.classes) for each in draft.signature.outputs] == [
            ("label", "label", ["cat", "dog", "owl"]),
            ("y", "class-probabilities", ["cat", "dog", "owl"]),
        ]
        assert draft.signature.bins == Bins(kind="classes", classes=["cat", "dog", "owl"])
        given_labels = run(draft, features=ROWS)["label"].tolist()
    assert given_labels == [["cat", "dog", "owl"][at] for at in expected.argmax(axis=1)]
    assert draft.metrics.task == "multi-class"


def test_inputs_of_several_types_keep_their_names(tmp_path: Path) -> None:
    """A float, an integer, a string and a boolean, with a null where the type has one."""
    nodes = [
        helper.make_node("Cast", ["age"], ["age_float"], to=FLOAT),
        helper.make_node("Cast", ["member"], ["member_float"], to=FLOAT),
        helper.make_node("Add", ["income", "age_float"], ["sum"]),
        helper.make_node("Add", ["sum", "member_float"], ["value"]),
        helper.make_node("Identity", ["city"], ["echo"]),
    ]
    inputs: list[End] = [("income", FLOAT, ["n", 1]), ("age", INT64, ["n", 1]), ("city", STRING, ["n", 1])]
    model = a_graph(
        nodes,
        [*inputs, ("member", TensorProto.BOOL, ["n", 1])],
        [("value", FLOAT, ["n", 1]), ("echo", STRING, ["n", 1])],
    )
    reference = save_rows(
        tmp_path / "rows.parquet",
        income=[1.5, 2.5, 3.5, 4.5],
        age=[30, 40, 50, 60],
        city=["Lisboa", None, "Recife", "Lisboa"],
        member=[True, False, True, False],
        ignored=[0, 0, 0, 0],
    )
    with imported("mixed", save(model, tmp_path / "m.onnx"), reference=reference) as draft:
        signature, described = draft.signature, references.decode(draft.files["reference.json"])  # type: ignore[arg-type]
        given = run(
            draft,
            income=np.array([[1], [2]], np.float32),
            age=np.array([[1], [2]]),
            city=np.array([["a"], ["b"]], object),
            member=np.array([[True], [False]]),
        )
    assert {each.name: (each.dtype, each.nullable, each.shape) for each in signature.inputs} == {
        "income": ("float32", False, [None]),
        "age": ("int64", False, [None]),
        "city": ("string", True, [None]),
        "member": ("bool", False, [None]),
    }
    assert signature.inputs[2].categories == ["Lisboa", "Recife"]
    assert signature.inputs[2].fill == ""
    assert described.features["city"].counts == [2, 1, 0]
    assert described.features["city"].missing == 1
    assert signature.primary == "echo"  # a string is a label
    assert given["value"].tolist() == [3, 4]
    assert given["echo"].tolist() == ["a", "b"]


def test_columns_of_bytes_and_of_times_keep_their_types(tmp_path: Path) -> None:
    """A graph has strings and integers; the rows say that they are bytes and times."""
    nodes = [
        helper.make_node("Identity", ["token"], ["echo"]),
        helper.make_node("Identity", ["seen"], ["when"]),
    ]
    model = a_graph(
        nodes,
        [("token", STRING, ["n"]), ("seen", INT64, ["n", 1])],
        [("when", INT64, ["n", 1]), ("echo", STRING, ["n"])],
    )
    times = np.array(["2026-01-01T00:00:00", "2026-01-02T12:00:00", "2026-01-03T00:00:00"], dtype="datetime64[us]")
    reference = save_rows(tmp_path / "rows.parquet", token=[b"ab", None, b"ab"], seen=times)
    with imported(
        "tokens", save(model, tmp_path / "m.onnx"), reference=reference, choices=choices_of(primary="when")
    ) as draft:
        token, seen = draft.signature.inputs
        assert (token.dtype, token.nullable, token.fill, token.categories) == ("bytes", True, "", None)
        assert (seen.dtype, seen.minimum) == ("timestamp", float(times[0].astype(np.int64)))
        given = run(draft, token=np.array(["ab", ""], object), seen=times[:2].astype(np.int64).reshape(2, 1))
        assert (given["echo"].tolist(), given["when"].tolist()) == (["ab", ""], times[:2].astype(np.int64).tolist())
        described = references.decode(draft.files["reference.json"])  # type: ignore[arg-type]
        assert (described.features["token"].counts, described.features["token"].missing) == ([2], 1)


NARROW: dict[str, tuple[int, NDArray[Any], str]] = {
    "int32": (TensorProto.INT32, np.array([1, 2**31]), "2147483648 in row 1 of 'x'; the model takes int32, from -21"),
    "uint8": (TensorProto.UINT8, np.array([255, 0, -1]), "-1 in row 2 of 'x'; the model takes uint8, from 0 to 255"),
    "int8": (TensorProto.INT8, np.array([128, 0]), "128 in row 0 of 'x'; the model takes int8, from -128 to 127"),
    "uint64": (TensorProto.UINT64, np.array([0, -5]), "-5 in row 1 of 'x'; the model takes uint64, from 0 to 92"),
    "int64": (INT64, np.array([0, 2**63], np.uint64), "9223372036854775808 in row 1 of 'x'; the model takes int64,"),
    "a fraction": (TensorProto.INT32, np.array([1.0, 2.0, 2.5]), "2.5 in row 2 of 'x'; the model takes int64."),
    "NaN": (TensorProto.INT32, np.array([1.0, np.nan]), "a null in row 1 of 'x'; the model takes int64,"),
}


@pytest.mark.parametrize("case", NARROW)
def test_rows_that_an_integer_input_would_wrap_are_refused(tmp_path: Path, case: str) -> None:
    kind, values, sentence = NARROW[case]
    model = a_graph([helper.make_node("Identity", ["x"], ["y"])], [("x", kind, ["n"])], [("y", kind, ["n"])])
    for reference in (save_rows(tmp_path / "rows.parquet", x=values), save_rows(tmp_path / "rows.npz", x=values)):
        assert refusal(save(model, tmp_path / "m.onnx"), reference).startswith(f"{reference.name} has {sentence}")


def test_bytes_that_are_not_text_are_refused_with_their_row(tmp_path: Path) -> None:
    model = a_graph(
        [helper.make_node("Identity", ["token"], ["echo"])], [("token", STRING, ["n"])], [("echo", STRING, ["n"])]
    )
    reference = save_rows(tmp_path / "rows.parquet", token=[b"ab", b"\xff\xfe"])
    assert refusal(save(model, tmp_path / "m.onnx"), reference) == (
        "rows.parquet has bytes in row 1 of 'token' that are not UTF-8; ONNX Runtime takes no others here."
    )


def test_several_float_inputs_become_one_matrix(tmp_path: Path) -> None:
    model = a_graph(
        [helper.make_node("Sub", ["left", "right"], ["gap"])],
        [("left", DOUBLE, ["n"]), ("right", DOUBLE, ["n"])],
        [("gap", DOUBLE, ["n"])],
    )
    reference = save_rows(tmp_path / "rows.parquet", right=[1.0, 2.0, 4.0], left=[5.0, None, 7.0])
    with imported(
        "gap", save(model, tmp_path / "m.onnx"), reference=reference, choices=choices_of(roles=["gap=vector"])
    ):
        pass
    with (
        pytest.raises(ImportRefused, match="row 1, as output 'prediction'"),
        imported("gap", tmp_path / "m.onnx", reference=reference),
    ):
        pass
    whole = save_rows(tmp_path / "whole.parquet", right=[1.0, 2.0, 4.0], left=[5.0, 6.0, 7.0])
    with imported("gap", tmp_path / "m.onnx", reference=whole) as draft:
        assert [each.name for each in draft.signature.inputs] == ["left", "right"]
        assert draft.signature.is_scalar
        assert run(draft, features=np.array([[5.0, 1.0]]))["prediction"].tolist() == [4.0]


def test_an_image_of_bytes_is_cast_from_integers(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (6, 3, 4, 4), dtype=np.uint8)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=FLOAT),
        helper.make_node("GlobalAveragePool", ["float"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    model = a_graph(nodes, [("image", TensorProto.UINT8, ["n", 3, 4, 4])], [("embedding", FLOAT, ["n", 3])])
    expected = save_rows(tmp_path / "expected.npz", embedding=answers(model, image=images)[0])
    for reference in (
        save_rows(tmp_path / "rows.npz", image=images),
        save_rows(tmp_path / "rows.parquet", image=images.reshape(6, -1)),
    ):
        with imported("eye", save(model, tmp_path / "m.onnx"), reference=reference, expected=expected) as draft:
            (described,) = draft.signature.inputs
            assert (described.dtype, described.shape) == ("int64", [None, 3, 4, 4])
            assert [(each.role, each.shape) for each in draft.signature.outputs] == [("vector", [None, 3])]
            assert draft.signature.bins.kind == "edges"


def test_half_precision_is_cast_at_both_ends(tmp_path: Path, rows: Path) -> None:
    half = TensorProto.FLOAT16
    model = a_graph(
        [helper.make_node("ReduceSum", ["x", "axis"], ["y"], keepdims=0)],
        [("x", half, ["n", 4])],
        [("y", half, ["n"])],
        {"axis": np.array([1])},
    )
    with imported("half", save(model, tmp_path / "m.onnx"), reference=rows) as draft:
        assert draft.signature.inputs[0].dtype == draft.signature.outputs[0].dtype == "float32"
        assert run(draft, features=ROWS[:2])["prediction"].dtype == np.float32


def test_a_classifier_of_scikit_learn_with_dictionaries_gives_tensors(tmp_path: Path) -> None:
    """Its converter adds a ZipMap: a list of dictionaries."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, target = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[target]
    estimator = LogisticRegression(max_iter=500).fit(features, names)
    model = to_onnx(estimator, features[:1].astype(np.float32), target_opset={"": 17, "ai.onnx.ml": 3})
    reference = save_rows(tmp_path / "rows.parquet", **{f"c{at}": features[:, at] for at in range(4)})
    expected = save_rows(
        tmp_path / "expected.parquet",
        output_label=estimator.predict(features).tolist(),
        output_probability=estimator.predict_proba(features),
    )
    with imported("iris", save(model, tmp_path / "m.onnx"), reference=reference, expected=expected) as draft:
        assert [(each.name, each.role, each.classes) for each in draft.signature.outputs] == [
            ("output_label", "label", ["setosa", "versicolor", "virginica"]),
            ("output_probability", "class-probabilities", ["setosa", "versicolor", "virginica"]),
        ]


def test_bins_are_those_of_the_newest_version(store: Store, tmp_path: Path, rows: Path) -> None:
    with imported("net", save(a_network(last=None), tmp_path / "n.onnx"), reference=rows) as draft:
        first = publish(store, draft).manifest
    bins = newest_bins(store, "net")
    with imported("net", save(a_network(last=None, seed=5), tmp_path / "n.onnx"), reference=rows, bins=bins) as draft:
        assert draft.signature.bins == first.bins
    with imported("net", save(a_network(seed=5), tmp_path / "n.onnx"), reference=rows, bins=bins) as draft:
        assert draft.signature.bins.kind == "equal"
    assert newest_bins(store, "other") is None


def test_weights_beside_the_file_are_the_same_version(tmp_path: Path, rows: Path) -> None:
    digests = []
    (tmp_path / "apart").mkdir()
    for model in (
        save(a_network(hidden=512), tmp_path / "m.onnx"),
        save(a_network(hidden=512), tmp_path / "apart" / "m.onnx", weights="w.bin"),
    ):
        with imported("net", model, reference=rows) as draft:
            digests.append((draft.digest, draft.methods.fingerprint))
            assert set(draft.files) == {"model.onnx", "state.json", "reference.json", "CARD.md"}
    assert digests[0] == digests[1]


def test_large_weights_are_published_and_served_beside_the_graph(store: Store, tmp_path: Path, rows: Path) -> None:
    network = a_network(hidden=EMBEDDED_BYTES // 16 + 1)
    (expected,) = answers(network, x=ROWS[:2])
    digests = set()
    (tmp_path / "apart").mkdir()
    for model in (save(network, tmp_path / "m.onnx"), save(network, tmp_path / "apart" / "m.onnx", weights="w.bin")):
        with imported("net", model, reference=rows, tolerance=1e-3) as draft:
            assert isinstance(draft.files["model.onnx.data"], Path)
            digests.add(draft.digest)
            publish(store, draft)
    assert len(digests) == 1
    np.testing.assert_allclose(
        sabia.load(store, "net", "1.0").predict(ROWS[:2].astype(np.float64)), expected[:, 0], rtol=1e-4
    )


def test_traces_of_the_exporting_machine_are_left_out(tmp_path: Path, rows: Path) -> None:
    network = a_network()
    graph = network.graph
    for each in (graph, graph.node[0], graph.initializer[0], graph.input[0], graph.output[0]):
        each.doc_string = "/home/someone/train.py:7"
        each.metadata_props.add(key="trace", value="/home/someone/train.py:7")
    helper.set_model_props(network, {"trace": "/home/someone"})
    with imported("net", save(network, tmp_path / "n.onnx"), reference=rows) as draft:
        model = draft.files["model.onnx"]
        assert isinstance(model, Path)
        assert b"/home/someone" not in model.read_bytes()


def an_mlflow_directory(folder: Path, flavors: str) -> Path:
    """What MLflow writes, as far as it is read."""
    folder.mkdir()
    (folder / "MLmodel").write_text(f"artifact_path: model\nflavors:\n{flavors}\nmlflow_version: 3.18.0\n")
    return folder


@pytest.mark.parametrize("weights", [None, "weights.bin"])
def test_an_mlflow_directory_of_the_onnx_flavor_is_its_file(tmp_path: Path, rows: Path, weights: str | None) -> None:
    data = "model.onnx" if weights is None else "model"
    folder = an_mlflow_directory(tmp_path / "mlflow", f"  onnx:\n    data: {data}\n    onnx_version: 1.19.0")
    inside = folder if weights is None else folder / "model"
    inside.mkdir(exist_ok=True)
    save(a_network(hidden=512), inside / "model.onnx", weights=weights)
    with imported("net", folder, reference=rows) as draft:
        assert draft.signature.outputs[0].role == "probability"


def test_the_command_publishes_what_the_server_can_open(
    tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, store = save(a_network(answers=3, last="Softmax"), tmp_path / "net.onnx"), (tmp_path / "store").as_uri()
    line = ["import", str(model), "--name", "net", "--reference", str(rows), "--store", store, "--classes", "a,b,c"]
    assert main([*line, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["version"], document["signature"]["primary"]) == ("1.0", "label")
    assert main(line) == 0
    assert "net 1.0: nothing changed" in capsys.readouterr().out
    assert sabia.load(store, "net", "1.0").version == "1.0"
    assert main([*line, "--role", "y=colour"]) == 1
    assert capsys.readouterr().err.startswith("error: The model cannot have the role 'colour';")


# Wrong files, each with its sentence.


def refusal(model: Path, reference: Path, **options: Any) -> str:
    """The sentence with which an import is refused."""
    with (
        pytest.raises((ImportRefused, InvalidSignature)) as refused,
        imported("net", model, reference=reference, **options),
    ):
        pass
    text = str(refused.value)
    assert "\n" not in text
    assert str(model.parent) not in text
    return text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "net.onnx is empty."),
        (b"hello, world", "net.onnx is truncated, or not an ONNX file."),
        (b"\x08\x08", "net.onnx is not an ONNX file: it has no graph with nodes and outputs."),
        (b"PK\x03\x04...", "net.onnx is a zip archive, such as PyTorch and Keras write, and not ONNX;"),
        (b"\x80\x04\x95", "net.onnx is a pickle and not ONNX; export the model to ONNX."),
        (b"version https://git-lfs.github.com/spec/v1", "net.onnx is a pointer of Git LFS, not the model;"),
    ],
    ids=["empty", "text", "no graph", "zip", "pickle", "pointer"],
)
def test_what_is_not_onnx_is_refused(tmp_path: Path, rows: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    assert refusal(tmp_path / "net.onnx", rows).startswith(sentence)


def test_other_directories_are_refused(tmp_path: Path, rows: Path) -> None:
    (tmp_path / "d").mkdir()
    assert refusal(tmp_path / "d", rows).startswith("d is a directory without MLmodel;")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, rows: Path, share: float) -> None:
    whole = a_network(hidden=200).SerializeToString()
    (tmp_path / "net.onnx").write_bytes(whole[: int(len(whole) * share)])
    assert refusal(tmp_path / "net.onnx", rows) == "net.onnx is truncated, or not an ONNX file."


def test_missing_truncated_and_foreign_weights_are_refused(tmp_path: Path, rows: Path) -> None:
    model, weights = save(a_network(hidden=600), tmp_path / "net.onnx", weights="w.bin"), tmp_path / "w.bin"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1])
    assert refusal(model, rows) == "w.bin is truncated: weights 'second' end past its last byte."
    weights.unlink()
    assert refusal(model, rows) == "The model has its weights in 'w.bin', which is missing beside it."
    inside = tmp_path / "inside"
    inside.mkdir()
    moved = a_network(hidden=600)
    save(moved, inside / "net.onnx", weights="w.bin")
    changed = (inside / "net.onnx").read_bytes().replace(b"w.bin", b"../ww")
    (inside / "net.onnx").write_bytes(changed)
    (tmp_path / "ww").write_bytes(data)
    assert "outside its folder" in refusal(inside / "net.onnx", rows)


def test_an_opset_that_is_too_new_is_refused(tmp_path: Path, rows: Path) -> None:
    network = a_network()
    network.opset_import[0].version = 99
    assert "needs a newer opset of ai.onnx than" in refusal(save(network, tmp_path / "n.onnx"), rows)
    network.opset_import[0].version = 17
    network.ir_version = 99
    (tmp_path / "n.onnx").write_bytes(network.SerializeToString())
    assert "has the ONNX IR version 99;" in refusal(tmp_path / "n.onnx", rows)


def test_custom_operators_are_refused(tmp_path: Path, rows: Path) -> None:
    node = helper.make_node("Magic", ["x"], ["y"], domain="acme")
    model = a_graph([node], [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 4])], domains=["acme"])
    assert refusal(save(model, tmp_path / "n.onnx"), rows) == (
        "The model uses the custom operator acme::Magic, which ONNX Runtime does not have."
    )
    node = helper.make_node("Magic", ["x"], ["y"])
    model = a_graph([node], [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 4])])
    assert "uses the operator Magic" in refusal(save(model, tmp_path / "n.onnx"), rows)


def a_loop(rounds: str, weights: dict[str, NDArray[Any]], *before: Any) -> ModelProto:
    """A loop that doubles its input."""
    body = helper.make_graph(
        [helper.make_node("Add", ["v", "v"], ["w"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, ["n", 4]),
        ],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, []), helper.make_tensor_value_info("w", FLOAT, ["n", 4])],
    )
    loop = helper.make_node("Loop", [rounds, "go", "x"], ["y"], body=body)
    weights |= {"go": np.array(True)}
    return a_graph([*before, loop], [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 4])], weights)


def test_a_loop_ends_or_is_refused(tmp_path: Path, rows: Path) -> None:
    path = tmp_path / "n.onnx"
    assert "a Loop without a limit" in refusal(save(a_loop("", {}), path), rows)
    assert "of 9000000 rounds" in refusal(save(a_loop("r", {"r": np.array(9_000_000)}), path), rows)
    by_value = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["r"], to=INT64),
    ]
    assert "depend on the values of a request" in refusal(save(a_loop("r", {}, *by_value), path), rows)
    by_shape = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["r"]),
    ]
    for model in (a_loop("r", {"r": np.array(3)}), a_loop("r", {"one": np.array(1)}, *by_shape)):
        with imported("loop", save(model, path), reference=rows) as draft:
            assert draft.signature.outputs[0].role == "vector"


BIG = np.array(2**62)
K_AS_IT_IS = helper.make_graph(
    [helper.make_node("Identity", ["k"], ["kept"])], "branch", [], [helper.make_tensor_value_info("kept", INT64, [])]
)
COMPUTED_ROUNDS: dict[str, tuple[dict[str, NDArray[Any]], list[Any]]] = {
    "passed on": ({"k": BIG}, [helper.make_node("Identity", ["k"], ["r"])]),
    "selected": (
        {"k": np.array([3, 2**62]), "at": np.array(1)},
        [helper.make_node("Gather", ["k", "at"], ["r"])],
    ),
    "a product": (
        {"k": np.array(10_000), "by": np.array(10_000)},
        [helper.make_node("Mul", ["k", "by"], ["r"])],
    ),
    "a size multiplied": (
        {"k": np.array(1_000_000), "at": np.array(1)},
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Gather", ["s", "at"], ["n"]),
            helper.make_node("Mul", ["n", "k"], ["r"]),
        ],
    ),
    "a quotient": (
        {"k": np.array(3.0), "by": np.array(1e-12)},
        [helper.make_node("Div", ["k", "by"], ["q"]), helper.make_node("Cast", ["q"], ["r"], to=INT64)],
    ),
    "random": (
        {"none": np.array([], np.int64)},
        [
            helper.make_node("RandomUniform", [], ["u"], shape=[1], high=1e9),
            helper.make_node("Cast", ["u"], ["v"], to=INT64),
            helper.make_node("Reshape", ["v", "none"], ["r"]),
        ],
    ),
    "chosen by If": (
        {"yes": np.array(True)},
        [
            helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
            helper.make_node("Cast", ["m"], ["k"], to=INT64),
            helper.make_node(
                "If",
                ["yes"],
                ["r"],
                then_branch=K_AS_IT_IS,
                else_branch=K_AS_IT_IS,
            ),
        ],
    ),
}


@pytest.mark.parametrize("rounds", COMPUTED_ROUNDS)
def test_a_loop_of_computed_rounds_is_refused(tmp_path: Path, rows: Path, rounds: str) -> None:
    weights, nodes = COMPUTED_ROUNDS[rounds]
    text = refusal(save(a_loop("r", dict(weights), *nodes), tmp_path / "n.onnx"), rows)
    assert text.startswith("The model has a Loop (unnamed) ")
    assert text.endswith(("it need not end.", "1000000 are the most."))


def within(holder: str, body: GraphProto, go: bool = True) -> ModelProto:
    """A model whose If or Scan, of input `x` and output `y`, holds a graph over a row or the rows."""
    if holder == "If":
        node = helper.make_node("If", ["go"], ["y"], then_branch=body, else_branch=body)
    else:
        node = helper.make_node("Scan", ["x"], ["y"], body=body, num_scan_inputs=1)
    return a_graph([node], [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 4])], {"go": np.array(go)})


def doubling(holder: str, rounds: str, limit: int = 3) -> GraphProto:
    """What an If or a Scan holds: a Loop that doubles its values."""
    source = "x" if holder == "If" else "row"
    loop = a_loop(rounds, {}).graph.node[0]
    loop.input[:] = [rounds, "yes", source]
    loop.output[:] = ["z"]
    row = [helper.make_tensor_value_info("row", FLOAT, [4])]
    for each in (*loop.attribute[0].g.input, *loop.attribute[0].g.output):
        if holder == "Scan" and each.name in ("v", "w"):
            each.type.CopyFrom(row[0].type)
    shape: list[str | int] = ["n", 4] if holder == "If" else [4]
    weights = [numpy_helper.from_array(np.array(True), "yes"), numpy_helper.from_array(np.array(limit), "k")]
    return helper.make_graph(
        [loop], "body", [] if holder == "If" else row, [helper.make_tensor_value_info("z", FLOAT, shape)], weights
    )


@pytest.mark.parametrize("holder", ["If", "Scan"])
def test_a_loop_inside_another_graph_ends_or_is_refused(tmp_path: Path, rows: Path, holder: str) -> None:
    """If and Scan end themselves: one runs one of its graphs, the other has a round for each row."""
    path = tmp_path / "n.onnx"
    with imported("held", save(within(holder, doubling(holder, "k")), path), reference=rows) as draft:
        np.testing.assert_allclose(run(draft, features=ROWS[:2])["y"], 8 * ROWS[:2])
    assert "a Loop without a limit" in refusal(save(within(holder, doubling(holder, "")), path), rows)
    assert "1000000 are the most" in refusal(save(within(holder, doubling(holder, "k", 10**12)), path), rows)
    assert "within loops of 1000" in refusal(save(within("Scan", doubling("Scan", "k", 10_000)), path), rows)


def test_loops_within_loops_are_bounded_together(tmp_path: Path, rows: Path) -> None:
    model = a_loop("r", {"r": np.array(10_000)})
    inner = a_loop("r", {}).graph.node[0]
    inner.input[:], inner.output[:] = ["r", "c", "v"], ["w"]
    for side in (inner.attribute[0].g.input, inner.attribute[0].g.output, inner.attribute[0].g.node):
        for each in side:
            each.name = each.name and f"inner_{each.name}"
    for node in inner.attribute[0].g.node:
        node.input[:], node.output[:] = [[f"inner_{each}" for each in side] for side in (node.input, node.output)]
    model.graph.node[0].attribute[0].g.node[0].CopyFrom(inner)
    assert refusal(save(model, tmp_path / "n.onnx"), rows) == (
        "The model has a Loop (unnamed) of 10000 rounds within loops of 10000; 1000000 are the most."
    )


def test_a_loop_whose_rounds_a_function_gives_is_refused(tmp_path: Path, rows: Path) -> None:
    """A function may have the name of an operator that bounds them."""
    by_function = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Shape", ["m"], ["r"], domain="acme"),
    ]
    model = a_loop("r", {}, *by_function)
    model.opset_import.append(helper.make_opsetid("acme", 1))
    cast = helper.make_node("Cast", ["a"], ["b"], to=INT64)
    model.functions.append(helper.make_function("acme", "Shape", ["a"], ["b"], [cast], [helper.make_opsetid("", 17)]))
    assert "depend on the values of a request" in refusal(save(model, tmp_path / "n.onnx"), rows)


@pytest.mark.parametrize("operator", ["BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"])
def test_operators_that_generate_are_refused(tmp_path: Path, rows: Path, operator: str) -> None:
    body = a_network().graph
    node = helper.make_node(operator, ["x", "r"], ["y"], domain="com.microsoft", decoder=body)
    weights = {"r": np.array(3)}
    model = a_graph([node], [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 4])], weights, domains=["com.microsoft"])
    assert refusal(save(model, tmp_path / "n.onnx"), rows) == (
        f"The model uses {operator} (unnamed), whose subgraph runs until its values end it; it need not end."
    )


def test_a_fixed_batch_is_refused(tmp_path: Path, rows: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    model = a_graph([node], [("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 4])])
    assert refusal(save(model, tmp_path / "n.onnx"), rows) == (
        "The model has no batch dimension: input 'x' has the shape [1, 4]; export it with a dynamic first dimension."
    )
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    model = a_graph([node], [("x", FLOAT, ["n", 4])], [("y", FLOAT, [])])
    assert "gives one value for 30 rows as output 'y'" in refusal(save(model, tmp_path / "n.onnx"), rows)


def test_rows_that_influence_each_other_are_refused(tmp_path: Path, rows: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[0]), helper.make_node("Sub", ["x", "m"], ["y"])]
    model = a_graph(nodes, [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 4])])
    assert "otherwise alone than among others" in refusal(save(model, tmp_path / "n.onnx"), rows)


def test_inputs_and_outputs_that_no_request_has_are_refused(tmp_path: Path, rows: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    kind = TensorProto.COMPLEX64
    model = a_graph([node], [("x", kind, ["n", 4])], [("y", kind, ["n", 4])])
    assert "has the input 'x' of complex64" in refusal(save(model, tmp_path / "n.onnx"), rows)
    model = a_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])], [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n"])]
    )
    model.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None)))
    assert "has the output 'y', which is not a tensor but a sequence" in refusal(save(model, tmp_path / "n.onnx"), rows)


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = save(a_network(), tmp_path / "n.onnx")
    few = save_rows(tmp_path / "few.parquet", a=[1.0], b=[2.0])
    assert refusal(model, few).startswith("few.parquet has 2 columns; input 'x' takes 4:")
    text = save_rows(tmp_path / "text.parquet", a=["1"], b=[2.0], c=[2.0], d=[2.0])
    assert refusal(model, text) == "text.parquet has a value in column 'a' that is not a number."
    shape = save_rows(tmp_path / "shape.npz", x=np.zeros((3, 5), np.float32))
    assert refusal(model, shape) == "shape.npz has rows of shape [5] in 'x'; the model takes [4]."
    node = helper.make_node("Add", ["p", "q"], ["y"])
    two = save(
        a_graph([node], [("p", INT64, ["n"]), ("q", INT64, ["n"])], [("y", INT64, ["n"])]), tmp_path / "two.onnx"
    )
    assert refusal(two, save_rows(tmp_path / "r.parquet", p=[1], s=[2])) == (
        "r.parquet has no column 'q', which the model takes; it has 'p', 's'."
    )
    assert refusal(two, save_rows(tmp_path / "r.parquet", p=[1, 2], q=[2, None])) == (
        "r.parquet has a null in row 1 of 'q'; the model takes int64, which has none."
    )
    assert refusal(two, save_rows(tmp_path / "r.parquet", p=[1.5], q=[2])) == (
        "r.parquet has 1.5 in row 0 of 'p'; the model takes int64."
    )
    assert refusal(two, save_rows(tmp_path / "r.npz", p=np.array([1, 2]), q=np.array([1]))).startswith(
        "r.npz has arrays of different lengths"
    )


def test_files_of_rows_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    model = save(a_network(), tmp_path / "n.onnx")
    for name, content, sentence in [
        ("r.parquet", b"PAR1", "r.parquet cannot be read as parquet."),
        ("r.npz", b"?", "r.npz cannot be read as npz."),
        ("r.xlsx", b"?", "r.xlsx must be one of .parquet, .csv, .npz."),
        ("r.csv", b"a,b,c,d\n", "r.csv has no rows."),
    ]:
        (tmp_path / name).write_bytes(content)
        assert refusal(model, tmp_path / name) == sentence


def test_pickled_arrays_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", x=np.array([{"a": 1}], dtype=object))
    assert refusal(save(a_network(), tmp_path / "n.onnx"), tmp_path / "r.npz") == "r.npz cannot be read as npz."


def test_other_answers_are_refused_with_their_row(tmp_path: Path, rows: Path) -> None:
    model = save(a_network(), tmp_path / "n.onnx")
    right = answers(a_network(), x=ROWS)[0][:, 0]
    wrong = right.copy()
    wrong[7] += 0.01
    assert refusal(model, rows, expected=save_rows(tmp_path / "e.parquet", y=wrong)).startswith(
        f"Row 7 gets {right[7]:.6g} as 'y'; "
    )
    assert refusal(model, rows, expected=save_rows(tmp_path / "e.parquet", y=right[:9])) == (
        "e.parquet has 9 rows; the reference has 30."
    )
    assert refusal(model, rows, expected=save_rows(tmp_path / "e.parquet", answer=right)) == (
        "e.parquet has the column 'answer'; the outputs are 'y'."
    )
    for name in ("y", "prediction"):
        with imported(
            "net", model, reference=rows, expected=save_rows(tmp_path / "e.parquet", **{name: right})
        ) as draft:
            assert draft.metrics.parity_max_error == pytest.approx(0, abs=1e-6)


def test_choices_that_the_model_does_not_have_are_refused(tmp_path: Path, rows: Path) -> None:
    model = save(a_network(answers=3, last="Softmax"), tmp_path / "n.onnx")
    assert refusal(model, rows, choices=choices_of(primary="z")) == "The model has no output 'z'; it has 'y'."
    assert refusal(model, rows, choices=choices_of(classes="a,b")) == (
        "The model has 3 probabilities as 'y'; 2 classes are given."
    )
    for role in ("y", "y=colour"):
        with pytest.raises(ImportRefused, match="cannot have the role"):
            choices_of(roles=[role])


def test_constant_nans_are_refused(tmp_path: Path, rows: Path) -> None:
    node = helper.make_node("Div", ["x", "zero"], ["y"])
    nodes = [node, helper.make_node("ReduceSum", ["y", "axis"], ["s"], keepdims=0)]
    model = a_graph(
        nodes, [("x", FLOAT, ["n", 4])], [("s", FLOAT, ["n"])], {"zero": np.zeros(1, np.float32), "axis": np.array([1])}
    )
    assert "gives a number that is not finite for row 0" in refusal(save(model, tmp_path / "n.onnx"), rows)
