"""A scikit-learn training: one span for the data, one for each fold. The tests run it where scikit-learn is."""

from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold

import carbonbudget as cb


def main() -> None:
    """Cross-validate a random forest."""
    cb.init(run="forest")
    with cb.track("data"):
        samples, labels = make_classification(n_samples=2_000, n_features=20, random_state=0)
    scores = []
    folds = StratifiedKFold(5).split(samples, labels)
    # Threads of n_jobs count: the weight is the CPU time of the whole container.
    for train, test in cb.epochs(folds, total=5, name="fold"):
        forest = RandomForestClassifier(n_estimators=50, n_jobs=2, random_state=0).fit(samples[train], labels[train])
        scores.append(forest.score(samples[test], labels[test]))
        cb.units(samples=len(train))
    print(f"accuracy {sum(scores) / len(scores):.2f}")


if __name__ == "__main__":
    main()
