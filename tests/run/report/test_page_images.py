"""The images in a report: synthetic ones, and what the prompts of the best checkpoint make of them."""

import base64
import io

import numpy as np
from PIL import Image

from fedbbpt.run import again


def shown_images(report):
    """All images of the page, (3, h, w) uint8."""
    files = [io.BytesIO(base64.b64decode(image["src"].partition(",")[2])) for image in report.page.all("img")]
    return [np.asarray(Image.open(file)).transpose(2, 0, 1) for file in files]


def best_prompts(report):
    """Those of the best checkpoint (V, d)."""
    state = again.load_best(report.folder, report.experiment)[1]
    return state.parameters["prompt"].reshape(-1, report.experiment.prompt.dim)


def test_images_are_synthetic_and_shown_under_the_prompt(make_report):
    report = make_report()
    experiment, prompts, shown = report.experiment, best_prompts(report), shown_images(report)
    training, reach = np.concatenate([client.train.inputs for client in experiment.clients]), 0.0
    assert len(shown) == 3 * 3
    for original, difference, prompted in zip(shown[::3], shown[1::3], shown[2::3], strict=True):
        assert not (training == original).all((1, 2, 3)).any()
        expected = experiment.prompt.apply(prompts, original[None].astype(np.float32) / 255, None)[0]
        np.testing.assert_allclose(prompted, 255 * expected, atol=0.51)
        change = expected - original / 255
        reach, clear = max(reach, abs(change).max()), abs(change) > 0.01
        np.testing.assert_array_equal(np.sign(change[clear]), np.sign(difference[clear] - 127.5))
    assert (f"±{reach:.2g}," in report.page.text) == (reach > 0.002)


def test_all_prompts_of_the_best_checkpoint_are_shown_side_by_side(make_report):
    report = make_report(algorithm={"name": "ensemble", "num_prompts": 8}, optimizer="random", rounds=3)
    experiment, prompts = report.experiment, best_prompts(report)
    assert len(prompts) == 1 + report.summary["best_round"] > 2
    labels = [image["alt"].partition(",")[0] for image in report.page.all("img")]
    assert labels == 3 * ["original", *(f"prompt {i}" for i in range(1, len(prompts) + 1))]
    original, *prompted = shown_images(report)[: 1 + len(prompts)]
    expected = experiment.prompt.apply(prompts, original[None].astype(np.float32) / 255, None)
    np.testing.assert_allclose(prompted, 255 * expected, atol=0.51)
    assert f"under each of the {len(prompts)} prompts of the best checkpoint" in report.page.text
    sizes = experiment.algorithm.parameter_counts(3)
    assert sizes == {"prompt": 4 * experiment.prompt.dim, "readout": 3 * (4 * 3 + 1)}
    text = f"Prompt dct ({sizes['prompt']} parameters), readout linear ({sizes['readout']} parameters)"
    assert text in report.page.text


def test_without_prompt_there_are_no_images(make_report):
    report = make_report(prompt="none")
    assert "What the readout added" in report.page.text
    assert ["Readout alone this run: no prompt"] in [row[:1] for row in report.page.rows]
    assert not report.page.all("img")
