"""Federated averaging over SPSA with gradient correction, written from the formulas and as plainly as possible.

The prompt is clip(image + ε θ) with a number of θ for every pixel; the loss is the cross-entropy of the softmax.
"""

import math

import numpy as np


def cross_entropy(scores, label):
    z = [float(s) for s in scores]
    return max(z) + math.log(sum(math.exp(v - max(z)) for v in z)) - z[label]


def loss(query, theta, epsilon, images, labels):
    total = 0.0
    for image, label in zip(images, labels, strict=True):
        picture = (epsilon * np.array(theta)).astype(np.float32).reshape(image.shape)
        total += cross_entropy(query(np.clip(image + picture, 0, 1)[None])[0], label)
    return total / len(labels)


def local_round(query, theta, data, rng, steps_before, s):
    theta, momentum, d = [float(t) for t in theta], [0.0] * len(theta), len(theta)
    for k in range(steps_before + 1, steps_before + s["local_steps"] + 1):
        a_k, c_k = s["a"] / (k + s["o"]) ** s["alpha"], s["c"] / k ** s["gamma"]
        rows = range(len(data.labels))
        if len(rows) > s["batch_size"]:
            rows = rng.choice(len(data.labels), s["batch_size"], replace=False)
        images = [data.inputs[row].astype(np.float32) / np.float32(255) for row in rows]
        labels = [data.labels[row] for row in rows]
        signs = rng.choice([-1.0, 1.0], (s["directions"], d))
        sizes = rng.uniform(0.5, 1, (s["directions"], d))
        gradient = [0.0] * d
        for sign, size in zip(signs, sizes, strict=True):
            delta = [sign[i] * size[i] for i in range(d)]
            plus = loss(query, [theta[i] + c_k * delta[i] for i in range(d)], s["epsilon"], images, labels)
            minus = loss(query, [theta[i] - c_k * delta[i] for i in range(d)], s["epsilon"], images, labels)
            for i in range(d):
                gradient[i] += (plus - minus) / (2 * c_k * delta[i]) / s["directions"]
        for i in range(d):
            momentum[i] = s["beta"] * momentum[i] + gradient[i]
            theta[i] -= a_k * (gradient[i] + s["beta"] * momentum[i])
    return theta


def federate(query, clients, theta, rounds, seed, s):
    for round_ in range(1, rounds + 1):
        total = sum(len(client.train.labels) for client in clients)
        mean = np.zeros(len(theta))
        for client in clients:
            rng = np.random.default_rng([seed, round_, *client.id.encode()])
            trained = local_round(query, theta, client.train, rng, (round_ - 1) * s["local_steps"], s)
            change = [np.float32(new - float(old)) for new, old in zip(trained, theta, strict=True)]
            mean += [len(client.train.labels) / total * float(c) for c in change]
        theta = np.array([np.float32(float(old) + m) for old, m in zip(theta, mean, strict=True)], np.float32)
    return theta
