"""The REST contract of TensorFlow Serving, sentence by sentence; what is expected stands there, never in our code."""

from __future__ import annotations

import json

import numpy as np
import pytest
from serving_worlds import client_of, make_model, product_id

PREDICT = "/v1/models/recommender:predict"
ITEM = product_id(5)


def by_hand(seed: int, row: int, k: int = 100) -> tuple[list[int], np.ndarray]:
    """The notebook's function: the products with the greatest dot product with this one, itself included."""
    vectors = make_model(seed).product_vectors.astype(np.float64)
    scores = vectors @ vectors[row]
    best = np.argsort(-scores, kind="stable")[:k]
    return [product_id(place) for place in best], scores[best]


def check_outputs(outputs, seed=3, row=5):
    ids, scores = by_hand(seed, row)
    assert list(outputs) == ["output_0", "output_1"]
    assert outputs["output_0"] == ids
    np.testing.assert_allclose(outputs["output_1"], scores, rtol=1e-5, atol=1e-5)


def post(client, body, path=PREDICT):
    content = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return client.post(path, content=content, headers={"Content-Type": "application/json"})


def refused(answer, status, message):
    assert (answer.status_code, answer.json()) == (status, {"error": message})
    assert answer.headers["content-type"] == "application/json"


# The workshop's own calls


def test_the_workshops_call_is_answered_with_a_hundred_ids_and_scores_itself_included(client):
    answer = post(client, '{"signature_name":"call_item_item","inputs": {"item": [1035] } }')
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["outputs"]
    check_outputs(answer.json()["outputs"])
    assert len(answer.json()["outputs"]["output_0"]) == 100
    assert ITEM in answer.json()["outputs"]["output_0"]


def test_the_workshops_metadata_call_has_the_envelope_of_tensorflow_serving(client):
    answer = client.get("/v1/models/recommender/metadata").json()
    assert answer["model_spec"] == {"name": "recommender", "signature_name": "", "version": "3"}
    assert list(answer["metadata"]) == ["signature_def"]
    assert list(answer["metadata"]["signature_def"]) == ["signature_def"]
    assert answer["metadata"]["signature_def"]["signature_def"]["call_item_item"] == {
        "inputs": {
            "item": {
                "dtype": "DT_INT32",
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                "name": "call_item_item_item:0",
            }
        },
        "outputs": {
            "output_0": {
                "dtype": "DT_INT32",
                "tensor_shape": {"dim": [{"size": "100", "name": ""}], "unknown_rank": False},
                "name": "StatefulPartitionedCall:0",
            },
            "output_1": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": "100", "name": ""}], "unknown_rank": False},
                "name": "StatefulPartitionedCall:1",
            },
        },
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }


@pytest.mark.parametrize(
    "body",
    [
        {"signature_name": "call_item_item", "inputs": {"item": [ITEM]}},
        {"signature_name": "call_item_item", "inputs": {"item": ITEM}},
        {"signature_name": "call_item_item", "inputs": {"product": ITEM}},
        {"signature_name": "call_item_item", "inputs": {"product": [ITEM]}},
        {"signature_name": "call_item_item", "inputs": ITEM},
        {"signature_name": "call_item_item", "inputs": [ITEM]},
        {"signature_name": "serving_default", "inputs": {"item": [ITEM]}},
        {"inputs": {"product": ITEM}},
        {"signature_name": "", "inputs": ITEM},
        {"inputs": {"item": ITEM, "of no interest": [1, {"x": None}]}},
    ],
)
def test_item_and_product_scalar_and_list_of_one_and_the_default_signature_are_one(client, body):
    answer = post(client, body)
    assert answer.status_code == 200, answer.text
    check_outputs(answer.json()["outputs"])


@pytest.mark.parametrize("instance", [ITEM, [ITEM], {"item": ITEM}, {"item": [ITEM]}, {"product": ITEM}])
def test_the_row_form_takes_the_outputs_first_dimension_as_the_batch(client, instance):
    answer = post(client, {"signature_name": "call_item_item", "instances": [instance]}).json()
    assert list(answer) == ["predictions"]
    assert len(answer["predictions"]) == 100
    assert {tuple(row) for row in answer["predictions"]} == {("output_0", "output_1")}
    check_outputs({name: [row[name] for row in answer["predictions"]] for name in ("output_0", "output_1")})


def test_a_catalogue_of_fewer_than_a_hundred_products_is_listed_whole(tmp_path):
    from tastemaker.model.folder import save

    save(make_model(0, products=7), tmp_path / "few" / "1")
    with client_of(tmp_path) as client:
        outputs = post(client, {"inputs": product_id(2)}, "/v1/models/few:predict").json()["outputs"]
        assert sorted(outputs["output_0"]) == [product_id(row) for row in range(7)]
        described = client.get("/v1/models/few/metadata").json()["metadata"]["signature_def"]["signature_def"]
        dim = described["call_item_item"]["outputs"]["output_0"]["tensor_shape"]["dim"]
        assert dim == [{"size": "7", "name": ""}]


# Routing


def test_paths_match_in_upper_and_lower_case(client):
    check_outputs(post(client, {"inputs": ITEM}, "/V1/Models/recommender:PREDICT").json()["outputs"])
    assert client.get("/V1/MODELS/recommender/METADATA").json()["model_spec"]["version"] == "3"


def test_names_of_models_keep_their_case(client):
    refused(
        post(client, {"inputs": 1}, "/v1/models/Recommender:predict"),
        404,
        "Servable not found for request: Latest(Recommender)",
    )


def test_name_and_label_are_url_decoded(client):
    check_outputs(post(client, {"inputs": ITEM}, "/v1/models/%72ecommender:predict").json()["outputs"])
    check_outputs(
        post(client, {"inputs": ITEM}, "/v1/models/recommender/labels/c%61nary:predict").json()["outputs"],
        seed=1,
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/x"),
        ("POST", "/v1/models/recommender/metadata"),
        ("POST", "/v1/models/recommender:explain"),
        ("POST", "/v1/models/recommender:predict/"),
        ("POST", "/v1/models/recommender/versions/x:predict"),
        ("POST", "/v1/models/a/b:predict"),
        ("GET", "/v1/models/recommender:predict"),
        ("GET", "/v1/"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/nonsense"),
        ("PUT", "/v1/models/recommender"),
        ("DELETE", "/v1/models/recommender"),
        ("OPTIONS", "/v1/models/recommender"),
    ],
)
def test_what_does_not_match_under_v1_is_malformed_and_echoed(client, method, path):
    refused(
        client.request(method, path, content="{}" if method == "POST" else None),
        400,
        f"Malformed request: {method} {path}",
    )


@pytest.mark.parametrize("path", ["/v2/models/x", "/v1", "/nonsense"])
def test_outside_v1_is_a_404_in_html(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_without_a_version_the_largest_answers(client):
    check_outputs(post(client, {"inputs": ITEM}).json()["outputs"], seed=3)


def test_a_version_or_a_label_is_answered_by_that_version(client):
    for which in ("versions/1", "versions/0001", "labels/canary"):
        check_outputs(
            post(client, {"inputs": ITEM}, f"/v1/models/recommender/{which}:predict").json()["outputs"],
            seed=1,
        )
    described = client.get("/v1/models/recommender/versions/1/metadata").json()
    assert described["model_spec"]["version"] == "1"
    assert client.get("/v1/models/recommender/labels/canary/metadata").json() == described


@pytest.mark.parametrize("rest", ["", "/metadata"])
def test_a_version_beyond_int64_cannot_be_converted(client, rest):
    path = f"/v1/models/recommender/versions/9223372036854775808{rest}"
    refused(client.get(path), 400, "Failed to convert version: 9223372036854775808 to numeric.")


def test_a_version_beyond_int64_cannot_be_predicted_with(client):
    path = "/v1/models/recommender/versions/99999999999999999999:predict"
    refused(
        post(client, {"inputs": 1}, path), 400, "Failed to convert version: 99999999999999999999 to numeric."
    )


def test_every_answer_is_json_and_has_no_cors_headers(client):
    answer = client.get("/v1/models/recommender", headers={"Origin": "https://example.org"})
    assert answer.headers["content-type"] == "application/json"
    assert not [name for name in answer.headers if name.startswith("access-control")]


# The request


@pytest.mark.parametrize("rest", [" trailing", "}", "\n{}", "\x00"])
def test_bytes_after_the_object_are_ignored(client, rest):
    check_outputs(post(client, json.dumps({"inputs": ITEM}) + rest).json()["outputs"])


def test_nan_and_infinity_are_numbers(client):
    body = '{"extra": [NaN, Infinity, -Infinity], "inputs": 1035}'
    check_outputs(post(client, body).json()["outputs"])


def test_nan_is_echoed_as_it_came(client):
    refused(
        post(client, '{"inputs": NaN}'), 400, "JSON Value: NaN Type: Number is not of expected type: int32"
    )


def test_text_ids_come_plain_or_in_base64(client):
    path = "/v1/models/texts:predict"
    plain = post(client, {"inputs": f"p{ITEM}"}, path).json()
    assert post(client, {"inputs": {"b64": "cDEwMzU="}}, path).json() == plain
    assert post(client, {"inputs": [{"b64": "cDEwMzU="}]}, path).json() == plain
    assert post(client, {"inputs": {"item": {"b64": "cDEwMzU="}}}, path).json() == plain
    ids, _ = by_hand(2, 5)
    assert plain["outputs"]["output_0"] == [f"p{id}" for id in ids]


def test_text_ids_are_described_as_strings(client):
    described = client.get("/v1/models/texts/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert described["call_item_item"]["inputs"]["item"]["dtype"] == "DT_STRING"
    assert described["call_item_item"]["outputs"]["output_0"]["dtype"] == "DT_STRING"


# Every row of the table of errors


def test_an_empty_body(client):
    refused(post(client, ""), 400, "JSON Parse error: The document is empty")


def test_bad_json(client):
    refused(post(client, "this is bad"), 400, "JSON Parse error: Invalid value. at offset: 0")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        ('{"a": 1 "b"}', "Missing a comma or } after an object member. at offset: 8"),
        ('{"a": [1 2]}', "Missing a comma or ] after an array element. at offset: 9"),
        ("{1: 2}", "Missing a name for object member. at offset: 1"),
        ('{"a": x}', "Invalid value. at offset: 6"),
    ],
)
def test_bad_json_is_explained_in_the_words_of_rapidjson(client, body, message):
    refused(post(client, body), 400, f"JSON Parse error: {message}")


@pytest.mark.parametrize(
    ("body", "echo"), [("[]", "[]"), ("7", "7"), ('"x"', '"x"'), ("null", "null"), ("[1]", "[\n    1\n]")]
)
def test_not_an_object(client, body, echo):
    refused(post(client, body), 400, f"JSON Value: {echo} Is not object")


@pytest.mark.parametrize("name", [100, None, ["call_item_item"], {"x": 1}])
def test_a_signature_name_that_is_no_string(client, name):
    answer = post(client, {"signature_name": name})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("JSON Value: {\n")
    assert answer.json()["error"].endswith(
        "} not formatted correctly. 'signature_name' key must be a string value."
    )


def test_an_unknown_signature(client):
    refused(
        post(client, {"signature_name": "x", "inputs": 1}),
        400,
        'Serving signature name: "x" not found in signature def',
    )


def test_neither_inputs_nor_instances(client):
    refused(post(client, {"signature_name": "call_item_item"}), 400, "Missing 'inputs' or 'instances' key")


def test_both_inputs_and_instances(client):
    message = post(client, {"inputs": 1, "instances": [1]}).json()["error"]
    assert message.startswith("JSON Value: {")
    assert message.endswith(
        "} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
    )


@pytest.mark.parametrize("instances", [7, "x", {"item": 1}, None])
def test_instances_that_are_no_list(client, instances):
    answer = post(client, {"instances": instances})
    assert answer.status_code == 400
    assert answer.json()["error"].endswith("} Expecting 'instances' to be an list/array")


def test_empty_instances(client):
    answer = post(client, {"instances": []})
    assert answer.status_code == 400
    assert answer.json()["error"].endswith("} No values in 'instances' array")


@pytest.mark.parametrize("inputs", [{}, {"user": 1}])
def test_a_missing_input(client, inputs):
    refused(post(client, {"inputs": inputs}), 400, "Missing named input: item in 'inputs' object.")


@pytest.mark.parametrize(
    ("value", "echo", "kind"),
    [
        ("x", '"x"', "String"),
        (None, "null", "Null"),
        (True, "true", "True"),
        (False, "false", "False"),
        (1.5, "1.5", "Number"),
        (2**31, "2147483648", "Number"),
        ({"a": 1}, '{\n    "a": 1\n}', "Object"),
    ],
)
def test_a_value_of_the_wrong_type(client, value, echo, kind):
    message = f"JSON Value: {echo} Type: {kind} is not of expected type: int32"
    refused(post(client, {"inputs": {"item": value}}), 400, message)
    refused(post(client, {"inputs": {"item": [value]}}), 400, message)


def test_a_number_for_an_id_of_text(client):
    message = "JSON Value: 5 Type: Number is not of expected type: string"
    refused(post(client, {"inputs": {"item": 5}}, "/v1/models/texts:predict"), 400, message)


def test_a_wrong_type_in_a_row_says_which_row(client):
    refused(
        post(client, {"instances": ["x"]}),
        400,
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
        'JSON Value: "x" Type: String is not of expected type: int32',
    )


def test_rows_have_exactly_the_names_of_the_inputs(client):
    refused(
        post(client, {"instances": [{"item": ITEM, "colour": 1}]}),
        400,
        "Failed to process element: 0 key: colour of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON object: does not have named input: colour",
    )
    refused(
        post(client, {"instances": [{}]}),
        400,
        "Failed to process element: 0 of 'instances' list. JSON object: {} keys must be equal to: item",
    )


def test_rows_are_all_named_or_all_plain(client):
    body = {"signature_name": "similar_products", "instances": [{"product": ITEM}, ITEM]}
    refused(post(client, body), 400, "Expecting object but got list at item 1 of input list")
    body["instances"].reverse()
    refused(post(client, body), 400, "Expecting value/list but got object at item 1 of input list")


@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
def test_an_unknown_model_is_a_404_for_any_post(client, verb):
    refused(
        post(client, {"inputs": 1}, f"/v1/models/half:{verb}"),
        404,
        "Servable not found for request: Latest(half)",
    )


def test_an_unknown_version_is_a_404(client):
    for version in (9, 2**63 - 1):
        path = f"/v1/models/recommender/versions/{version}"
        message = f"Servable not found for request: Specific(recommender, {version})"
        refused(post(client, {"inputs": 1}, f"{path}:predict"), 404, message)
        refused(client.get(f"{path}/metadata"), 404, message)
    refused(
        post(client, {"inputs": 1}, "/v1/models/half/versions/9:predict"),
        404,
        "Servable not found for request: Specific(half, 9)",
    )


def test_an_unknown_label_is_a_400(client):
    for model in ("recommender", "half"):
        refused(
            post(client, {"inputs": 1}, f"/v1/models/{model}/labels/x:predict"),
            400,
            "Unrecognized servable version label: x",
        )


def test_the_status_of_what_is_not_there(client):
    refused(client.get("/v1/models/half"), 404, "Could not find any versions of model half")
    refused(client.get("/v1/models/half/versions/9"), 404, "Could not find version 9 of model half")
    refused(
        client.get("/v1/models/recommender/versions/9"), 404, "Could not find version 9 of model recommender"
    )
    refused(client.get("/v1/models"), 400, "Missing model name in request.")
    refused(
        client.get("/v1/models/metadata/metadata"), 404, "Servable not found for request: Latest(metadata)"
    )


def test_an_unknown_product_is_a_400_that_helps(client):
    refused(post(client, {"inputs": 123}), 400, "not among the 160 products of this model: 123.")


def test_bad_json_to_an_unknown_model_is_a_400_and_a_bad_signature_name_too(client):
    refused(post(client, "", "/v1/models/half:predict"), 400, "JSON Parse error: The document is empty")
    assert post(client, {"signature_name": 1}, "/v1/models/half:predict").status_code == 400


def test_an_unknown_signature_comes_before_missing_inputs_and_these_before_types(client):
    refused(
        post(client, {"signature_name": "x"}), 400, 'Serving signature name: "x" not found in signature def'
    )
    refused(post(client, {"inputs": {"other": "x"}}), 400, "Missing named input: item in 'inputs' object.")


def test_the_notebooks_signature_takes_one_product(client):
    answer = post(client, {"inputs": {"item": [ITEM, ITEM]}})
    assert answer.status_code == 400
    assert "one item" in answer.json()["error"]
    for bad in ([[ITEM]], [], [ITEM, [ITEM]]):
        assert post(client, {"inputs": {"item": bad}}).status_code == 400


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_classify_and_regress_are_refused(client, verb):
    answer = post(client, {"examples": [{"item": 1}]}, f"/v1/models/recommender:{verb}")
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]


# Status


def test_the_status_lists_versions_in_descending_order_as_strings(client):
    def available(version):
        return {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}

    assert client.get("/v1/models/recommender").json() == {
        "model_version_status": [available("3"), available("1")]
    }
    assert client.get("/v1/models/recommender/versions/1").json() == {
        "model_version_status": [available("1")]
    }


def test_the_status_of_a_label_ignores_the_label(client):
    everything = client.get("/v1/models/recommender").json()
    assert client.get("/v1/models/recommender/labels/canary").json() == everything
    assert client.get("/v1/models/recommender/labels/nonsense").json() == everything
