"""Results tables with a known truth: d_su = effect + a_s + b_u + e_su around a baseline of known accuracy."""

import numpy as np
import pandas as pd

CLASSIFIERS = {"EEGNet": 0.41, "ShallowFBCSPNet": 0.36, "de_logistic": 0.48, "de_mlp": 0.52}
STRATEGIES = {"aux_mse": 0.1, "kd_prototypes": 0.1, "rsa": 1.0, "supcon_clip": 0.5}
TARGETS = ("vaxis", "permuted_1", "random_1")
AXIS = "a1b2c3d4e5f60718"


def difference_table(random, n_seeds, n_subjects, *, delta=0.0, seeds=0.0, subjects=0.0, noise=0.0):
    """(n_seeds, n_subjects) differences: delta plus effects of seeds and of subjects plus noise, sds as given."""
    return (
        delta
        + random.normal(0, seeds, (n_seeds, 1))
        + random.normal(0, subjects, (1, n_subjects))
        + random.normal(0, noise, (n_seeds, n_subjects))
    )


def cell(
    *,
    classifier,
    strategy,
    target,
    lambda_,
    seed,
    accuracies,
    subjects,
    options="",
    gradient_match=0.0,
    compared_with="none",
    error=None,
):
    """One row as the store returns it."""
    failed = error is not None
    mean = None if failed else float(np.mean(accuracies))
    return {
        "cell_id": f"{classifier}-{strategy}-{options}-{lambda_:g}-{gradient_match:g}-{target}-{seed}",
        "dataset": "simulated",
        "dataset_hash": "0123456789abcdef",
        "split": "cohort-balanced:0",
        "classifier": classifier,
        "recipe": "quick-de" if classifier.startswith("de_") else "quick-windows",
        "recipe_hash": "01234567",
        "strategy": strategy,
        "target": target,
        "axis": AXIS if target.startswith(("vaxis", "permuted", "detached")) else "",
        "lambda_": lambda_,
        "options": options,
        "gradient_match": gradient_match,
        "compared_with": compared_with,
        "seed": seed,
        "plugins": "",
        "science": 1,
        "balanced_accuracy": mean,
        "kappa": None if failed else mean - 0.1,
        "weighted_f1": None if failed else mean - 0.01,
        "accuracy": mean,
        "cross_entropy": None if failed else 1.5,
        "gradient_ratio": None if failed or strategy == "none" else 0.2,
        "recall": None if failed else [mean] * 9,
        "test_subjects": None if failed else list(subjects),
        "subject_balanced_accuracy": None if failed else [float(value) for value in accuracies],
        "status": "failed" if failed else "done",
        "error": error,
        "attempts": 1,
        "seconds": None if failed else 40.0 + seed,
        "device": "cpu",
    }


def results_table(
    *,
    classifiers=CLASSIFIERS,
    strategies=STRATEGIES,
    targets=TARGETS,
    n_seeds=10,
    n_subjects=20,
    effects=None,
    spread=None,
    failures=None,
    matched=None,
    random_state=0,
):
    """A whole sweep.

    strategies: {name: lambda_}, or rows (name, lambda_, options, gradient_match);
    effects: {(classifier, strategy, target): true difference}; spread: sds as in `difference_table`;
    failures: {(classifier, strategy, target, seed): error};
    matched: {strategy: the one that it is compared with}, which gets cells without a target, too.
    """
    random = np.random.default_rng(random_state)
    spread = {"seeds": 0.006, "subjects": 0.004, "noise": 0.02} if spread is None else spread
    subjects = [f"sub{number:03d}" for number in range(n_subjects)]
    rows, matched = [], matched or {}
    doses = strategies
    if isinstance(strategies, dict):
        doses = [(name, lambda_, "", 0.0) for name, lambda_ in strategies.items()]
    planned = [(name, "none", 0.0, "", 0.0) for name in ("none", *sorted(set(matched.values())))]
    planned += [(name, target, *dose) for name, *dose in doses for target in targets]
    for classifier in classifiers:
        person = random.normal(0, 0.06, (1, n_subjects))
        known = {}
        for strategy, target, lambda_, options, ratio in planned:
            if strategy == "none":
                luck = difference_table(random, n_seeds, n_subjects, seeds=0.01, noise=0.03)
                accuracies = known["none"] = CLASSIFIERS[classifier] + person + luck
            else:
                delta = (effects or {}).get((classifier, strategy, target), 0.0)
                drawn = difference_table(random, n_seeds, n_subjects, delta=delta, **spread)
                accuracies = known[matched.get(strategy, "none")] + drawn
            if target == "none":
                known[strategy] = accuracies
            rows += [
                cell(
                    classifier=classifier,
                    strategy=strategy,
                    target=target,
                    lambda_=lambda_,
                    options=options,
                    gradient_match=ratio,
                    compared_with=matched.get(strategy, "none"),
                    seed=seed,
                    accuracies=accuracies[seed],
                    subjects=subjects,
                    error=(failures or {}).get((classifier, strategy, target, seed)),
                )
                for seed in range(n_seeds)
            ]
    return pd.DataFrame(rows)
