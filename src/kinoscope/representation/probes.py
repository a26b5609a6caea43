"""Classifiers on stored embeddings: softmax regression of phases (CARL, section 11.3).

The published estimator: multinomial logistic regression, `1/2 ||W||^2 + C sum CE` with C = 1, intercept not
penalised, by L-BFGS. With two classes the official form is kept: its `W` has two rows, which is binary logistic
regression at twice the C with coefficients halved (quirk 26); here both forms are one softmax, centred.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from kinoscope.errors import KinoscopeError


@dataclass(frozen=True)
class SoftmaxRegression:
    """classes (K,) labels in order; weights (K, D) and bias (K,), both summing to zero over the classes."""

    classes: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    def fit(
        cls, x: np.ndarray, labels: np.ndarray, c: float = 1.0, tolerance: float = 1e-4
    ) -> SoftmaxRegression:
        """x (N, D), labels (N,) whole numbers. Raises KinoscopeError where all labels are the same."""
        x = np.asarray(x, np.float64)
        classes, target = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise KinoscopeError(
                "a classifier needs two classes",
                field="labels",
                value=classes.tolist(),
                remedy="take more labelled videos",
            )
        (count, width), k = x.shape, len(classes)
        truth = np.zeros((count, k))
        truth[np.arange(count), target] = 1

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            w, b = flat[: k * width].reshape(k, width), flat[k * width :]
            score = x @ w.T + b
            log_sum = logsumexp(score, axis=1, keepdims=True)
            error = np.exp(score - log_sum) - truth
            value = (log_sum.sum() - (score * truth).sum()) / count + (w**2).sum() / (2 * c * count)
            slope = np.concatenate([(error.T @ x / count + w / (c * count)).ravel(), error.mean(0)])
            return float(value), slope

        options = {"maxiter": 100_000, "maxfun": 10**7, "gtol": tolerance, "ftol": 64 * np.finfo(float).eps}
        found = minimize(loss, np.zeros(k * (width + 1)), jac=True, method="L-BFGS-B", options=options).x
        w, b = found[: k * width].reshape(k, width), found[k * width :]
        return cls(classes, w - w.mean(0), b - b.mean())

    def scores(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x, np.float64) @ self.weights.T + self.bias

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """(N, K), one row a frame."""
        return softmax(self.scores(x), axis=1)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(N,) labels."""
        return self.classes[self.scores(x).argmax(1)]
