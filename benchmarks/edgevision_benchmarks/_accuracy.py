"""What a file calls every picture of a list, with all cores at work and few pictures in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from edgevision_device import Classifier, LabelledPicture, PictureError, read_picture

__all__ = ["MANY", "classify_all"]

#: With more labels than this, it also counts whether the right one is among so many best.
MANY = 5


@dataclass(frozen=True)
class _Answer:
    """The best labels of one picture, best first, and the best one's score; or why it was skipped."""

    labels: tuple[str, ...]
    score: float = 0.0
    skipped: Optional[str] = None


def classify_all(
    classifiers: Sequence[Classifier],
    pictures: Sequence[LabelledPicture],
    on_done: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Classify every picture.

    Args:
        classifiers: of one file; each works in a thread of its own, on one picture at a time. Which one got which
            picture makes no difference if all have the same number of threads.
        pictures: with their labels.
        on_done: told from time to time how many pictures are done.

    Returns:
        As JSON types: `confusion`, `predicted` and `scores` (a label for each picture and its score, None for one that
        was skipped), `top5_right` (None for a file of few labels), `skipped`.
    """
    answers: list[Optional[_Answer]] = [None] * len(pictures)
    errors: list[BaseException] = []
    places = iter(range(len(pictures)))
    lock = threading.Lock()

    def work(classifier: Classifier) -> None:
        try:
            while not errors:
                with lock:
                    place = next(places, None)
                if place is None:
                    return
                answers[place] = _answer(classifier, pictures[place])
        except BaseException as error:  # raised again below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(classifier,), daemon=True) for classifier in classifiers]
    on_done(0)
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.1)
            on_done(sum(answer is not None for answer in answers))
    if errors:
        raise errors[0]
    return _tally(pictures, [answer for answer in answers if answer is not None], classifiers[0].metadata.labels)


def _answer(classifier: Classifier, picture: LabelledPicture) -> _Answer:
    try:
        decoded = read_picture(picture.path)
    except PictureError as error:
        return _Answer((), skipped=str(error))
    scores = classifier.run(classifier.preprocess(decoded))
    best = classifier.rank(scores, MANY)
    return _Answer(tuple(each.label for each in best), float(classifier.temper(scores)[best[0].index]))


def _tally(pictures: Sequence[LabelledPicture], answers: Sequence[_Answer], labels: Sequence[str]) -> dict[str, Any]:
    counts: dict[tuple[str, str], int] = {}
    top5_right = 0
    for picture, answer in zip(pictures, answers):
        if answer.skipped is None:
            pair = picture.label, answer.labels[0]
            counts[pair] = counts.get(pair, 0) + 1
            top5_right += picture.label in answer.labels
    place = {label: index for index, label in enumerate(labels)}
    confusion: dict[str, dict[str, int]] = {}
    for true, predicted in sorted(counts, key=lambda pair: (place[pair[0]], place[pair[1]])):
        confusion.setdefault(true, {})[predicted] = counts[true, predicted]
    return {
        "confusion": confusion,
        "predicted": [answer.labels[0] if answer.skipped is None else None for answer in answers],
        "scores": [answer.score if answer.skipped is None else None for answer in answers],
        "top5_right": top5_right if len(labels) > MANY else None,
        "skipped": [answer.skipped for answer in answers if answer.skipped is not None],
    }
