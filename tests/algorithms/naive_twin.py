"""Federated averaging over SPSA with gradient correction, written from the formulas and as plainly as possible.

The prompt is clip(image + ε θ) with a number of θ for every pixel; the loss is the cross-entropy of the softmax. Losses
travel as float32; θ and the momentum are averaged over the clients, weighted by samples, and kept as float32.
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
    return float(np.float32(total / len(labels)))


def stream(seed, round_, client, purpose):
    return np.random.default_rng([seed, round_, *client.encode(), 0, *purpose.encode()])


def local_round(query, theta, momentum, data, directions, batches, steps_before, s):
    theta, momentum, d = [float(t) for t in theta], [float(m) for m in momentum], len(theta)
    for k in range(steps_before + 1, steps_before + s["local_steps"] + 1):
        a_k, c_k = s["a"] / (k + s["o"]) ** s["alpha"], s["c"] / k ** s["gamma"]
        rows = range(len(data.labels))
        if len(rows) > s["batch_size"]:
            rows = batches.choice(len(data.labels), s["batch_size"], replace=False)
        images = [data.inputs[row].astype(np.float32) / np.float32(255) for row in rows]
        labels = [data.labels[row] for row in rows]
        signs = directions.choice([-1.0, 1.0], (s["num_directions"], d))
        sizes = directions.uniform(0.5, 1, (s["num_directions"], d))
        gradient = [0.0] * d
        for sign, size in zip(signs, sizes, strict=True):
            delta = [sign[i] * size[i] for i in range(d)]
            plus = loss(query, [theta[i] + c_k * delta[i] for i in range(d)], s["epsilon"], images, labels)
            minus = loss(query, [theta[i] - c_k * delta[i] for i in range(d)], s["epsilon"], images, labels)
            for i in range(d):
                gradient[i] += (plus - minus) / (2 * c_k * delta[i]) / s["num_directions"]
        for i in range(d):
            momentum[i] = s["beta"] * momentum[i] + gradient[i]
            theta[i] -= a_k * (gradient[i] + s["beta"] * momentum[i])
    return theta, momentum


def average(before, afters, weights):
    moved = [
        float(old) + sum(w * (after[i] - float(old)) for after, w in zip(afters, weights, strict=True)) / sum(weights)
        for i, old in enumerate(before)
    ]
    return np.array(moved, np.float32)


def federate(query, clients, theta, rounds, seed, s):
    weights, momentum = [len(client.train.labels) for client in clients], np.zeros(len(theta), np.float32)
    for round_ in range(1, rounds + 1):
        trained = []
        for client in clients:
            streams = [stream(seed, round_, client.id, purpose) for purpose in ("directions", "batches")]
            before = (round_ - 1) * s["local_steps"]
            trained.append(local_round(query, theta, momentum, client.train, *streams, before, s))
        thetas, momenta = zip(*trained, strict=True)
        theta, momentum = average(theta, thetas, weights), average(momentum, momenta, weights)
    return theta
