import numpy as np
import pytest

from fedbbpt.readouts.class_moments import class_moments, virtual_examples


def examples(p, count=40, classes=3):
    rng = np.random.default_rng(p)
    labels = rng.integers(0, classes - 1, count)  # nobody has the last class
    return rng.normal(labels[:, None], 1 + np.arange(p) / p, (count, p)), labels


def covariances(features, weights):
    """Weight, mean and covariance of each class that occurs."""
    found = []
    for own in weights.T[weights.sum(0) > 0]:
        mean = own @ features / own.sum()
        found.append((own.sum(), mean, (features - mean).T @ ((features - mean) * own[:, None]) / own.sum()))
    return found


def test_virtual_examples_of_a_class_have_its_mean_and_covariance():
    features, labels = examples(5)
    virtual = virtual_examples(class_moments(features, labels, 3), 3, 5)
    real = covariances(features, np.eye(3)[labels] / len(labels))
    for one, other in zip(covariances(*virtual), real, strict=True):
        for ours, theirs in zip(one, other, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-8)


@pytest.mark.parametrize(("p", "kept"), [(60, "all"), (250, "diagonal")])
def test_many_features_share_a_covariance_or_variances(p, kept):
    features, labels = examples(p, 600)
    moments = class_moments(features, labels, 3)
    virtual = virtual_examples(moments, 3, p)
    within = sum(share * covariance for share, _, covariance in covariances(features, np.eye(3)[labels] / len(labels)))
    expected = within if kept == "all" else np.diag(np.diag(within))
    assert len(moments) == 3 + 3 * p + (p * (p + 1) // 2 if kept == "all" else p)
    for _, _, covariance in covariances(*virtual):
        np.testing.assert_allclose(covariance, expected, atol=1e-8)


def test_moments_of_parts_add_up():
    features, labels = examples(5)
    parts = [class_moments(features[part], labels[part], 3) for part in (slice(13), slice(13, None))]
    np.testing.assert_allclose(np.sum(parts, 0), class_moments(features, labels, 3))


def test_a_class_with_one_example_stays_there():
    features, labels = examples(5, 1)
    virtual = virtual_examples(class_moments(features, labels, 3), 3, 5)
    np.testing.assert_allclose(virtual.features, np.tile(features, (len(virtual.features), 1)), atol=1e-6)


@pytest.mark.parametrize(("classes", "p"), [(100, 100), (300, 250)])
def test_very_many_classes_and_features_keep_virtual_examples_few(classes, p):
    labels = np.repeat(np.arange(classes), 2)
    features = np.random.default_rng(0).normal(size=(len(labels), p))
    virtual = virtual_examples(class_moments(features, labels, classes), classes, p)
    assert virtual.features.size <= 1_000_000
    for k in (0, classes - 1):
        own = virtual.weights[:, k]
        np.testing.assert_allclose(own @ virtual.features / own.sum(), features[labels == k].mean(0), atol=1e-8)
