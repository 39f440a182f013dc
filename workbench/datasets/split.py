"""Divide images that show several classes each into two parts that both show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def stratified_split(classes: Sequence[set[int]], n_val: int) -> list[int]:
    """Return the indices of `n_val` validation images, chosen so that classes are shared out evenly.

    Iterative stratification (Sechidis et al., ECML 2011, algorithm 1) for two parts: the rarest class is shared out
    first, while there is still a choice. No randomness: ties go to the lower index. One rule is added: an image goes
    to validation only while every class it shows keeps another image for training, since a class that was never
    trained on says nothing about a detector.

    Args:
        classes: for each image, the set of class ids it shows.
        n_val: size of the validation part.

    >>> stratified_split([{0}, {0}, {0}, {0}, {1}, {1}, {2}, set()], 3)
    [0, 1, 4]
    """
    share = n_val / len(classes)
    total = Counter(c for shown in classes for c in shown)
    wanted = {c: n * share for c, n in total.items()}  # validation images class c still asks for
    left = dict(total)  # images of class c not yet in the validation part
    undecided = set(range(len(classes)))
    val: list[int] = []

    def fits(index: int) -> bool:
        return len(val) < n_val and all(left[c] > 1 for c in classes[index])

    while undecided:
        open_classes = Counter(c for i in undecided for c in classes[i])
        if not open_classes:  # only images without any object are left
            break
        rarest = min(open_classes, key=lambda c: (open_classes[c], c))
        members = sorted(i for i in undecided if rarest in classes[i])
        for index in sorted(members, key=lambda i: (-sum(wanted[c] for c in classes[i]) / len(classes[i]), i)):
            if wanted[rarest] >= 0.5 and fits(index):
                val.append(index)
                for c in classes[index]:
                    wanted[c] -= 1
                    left[c] -= 1
        undecided -= set(members)
    rest = [i for i in range(len(classes)) if i not in val]
    for index in sorted(rest, key=lambda i: (len(classes[i]), i)):  # fill up with the least crowded images
        if fits(index):
            val.append(index)
    return sorted(val)
