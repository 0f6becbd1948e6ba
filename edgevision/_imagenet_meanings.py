"""What the labels of a folder mean among the 1,000 labels of ImageNet."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgevision_device import UsageError, require_known

from ._networks import imagenet_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Meanings", "imagenet_label", "parse_means", "read_meanings"]

#: Labels that an error offers in place of one that there is not.
_OFFERED = 5


@dataclass(frozen=True)
class Meanings:
    """Which ImageNet labels are right for a picture.

    Attributes:
        of: label of the folder → its ImageNet labels; none stand for none of the others.
        given: whether the user gave any of them; else they are the folder's labels themselves.

    >>> meanings = Meanings({"hot_dog": ("hotdog",), "not_hot_dog": ()}, given=True)
    >>> meanings.is_right("hot_dog", "hotdog"), meanings.is_right("not_hot_dog", "espresso")
    (True, True)
    >>> meanings.is_right("hot_dog", "espresso"), meanings.is_right("not_hot_dog", "hotdog")
    (False, False)
    """

    of: Mapping[str, tuple[str, ...]]
    given: bool

    def is_right(self, label: str, answer: str) -> bool:
        """Tell whether an ImageNet label is right for a picture of the folder `label`."""
        meant = self.of[label]
        return answer in meant if meant else not any(answer in each for each in self.of.values())

    @property
    def complete(self) -> bool:
        """Whether every label has ImageNet labels of its own. For none of the others there is no top-5."""
        return all(self.of.values())

    def lines(self) -> list[str]:
        """Return one line a label, for people."""
        return [f"{label}: {', '.join(meant) or 'none of the others'}" for label, meant in self.of.items()]


def imagenet_label(text: str) -> str | None:
    """Return the ImageNet label that is meant; case does not matter, and `_` stands for a space.

    Raises UsageError where only case tells two labels apart, and it is neither's.

    >>> imagenet_label("egyptian_cat"), imagenet_label("hot dog")
    ('Egyptian cat', None)
    >>> imagenet_label("Cardigan"), imagenet_label("cardigan")  # the dog and the jacket
    ('Cardigan', 'cardigan')
    """
    wanted = text.replace("_", " ").strip()
    found = [label for label in imagenet_labels() if label.casefold() == wanted.casefold()]
    if wanted in found:
        return wanted
    if len(found) > 1:
        raise UsageError(f"{text!r} can be {' or '.join(map(repr, found))}, two labels of ImageNet; write it as one")
    return found[0] if found else None


def parse_means(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Read `LABEL=IMAGENET,…`, one for each `--means`; those of one label add up.

    >>> parse_means(["cat=tabby, tiger cat", "cat=Egyptian cat", "dog=beagle"])
    {'cat': ('tabby', 'tiger cat', 'Egyptian cat'), 'dog': ('beagle',)}
    """
    means: dict[str, tuple[str, ...]] = {}
    for text in texts:
        label, _, given = text.partition("=")
        names = tuple(part.strip() for part in given.split(",") if part.strip())
        if not label or not names:
            raise UsageError(f"--means takes LABEL=IMAGENET,… such as hot_dog=hotdog, got {text!r}")
        means[label] = (*means.get(label, ()), *names)
    return means


def read_meanings(labels: Sequence[str], means: Mapping[str, Sequence[str]]) -> Meanings:
    """Find out what each label of a folder means.

    A label means what it was given. Else it means itself, if it is one of ImageNet's. Else, if others were given
    something, it stands for none of the others.

    Args:
        labels: of the folder.
        means: ImageNet labels by label of the folder.

    Raises:
        UsageError: a label that is not the folder's or not ImageNet's, one without a meaning, or two that share one.
    """
    for label, names in means.items():
        require_known("label in --means", label, labels)
        if isinstance(names, str) or not names:
            raise UsageError(f"what {label!r} means must be a list of ImageNet labels, got {names!r}")
    of: dict[str, tuple[str, ...]] = {}
    for label in labels:
        if label in means:
            of[label] = tuple(dict.fromkeys(_required(name) for name in means[label]))
            continue
        own = imagenet_label(label)
        if own is None and not means:
            raise UsageError(
                f"the folder's label {label!r} is no ImageNet label{_offer(label)}; "
                f"say what it means with --means {label}=IMAGENET,…"
            )
        of[label] = () if own is None else (own,)
    owner: dict[str, str] = {}
    for label, meant in of.items():
        for name in meant:
            if name in owner:
                raise UsageError(f"{owner[name]!r} and {label!r} both mean {name!r}; give it to one of them")
            owner[name] = label
    return Meanings(of, given=bool(means))


def _required(name: str) -> str:
    found = imagenet_label(name)
    if found is None:
        raise UsageError(f"{name!r} in --means is no ImageNet label{_offer(name)}")
    return found


def _offer(text: str) -> str:
    """Name ImageNet labels that are close: spelled alike, or with that word in them."""
    labels = imagenet_labels()
    folded = {label.casefold(): label for label in labels}
    wanted = text.replace("_", " ").casefold()
    close = [folded[each] for each in difflib.get_close_matches(wanted, folded, n=2, cutoff=0.75)]
    close += [label for label in labels if wanted in re.split(r"[\s-]", label.casefold())]
    offered = list(dict.fromkeys(close))[:_OFFERED] or [
        folded[each] for each in difflib.get_close_matches(wanted, folded, n=1)
    ]
    return f" (did you mean {' or '.join(map(repr, offered))}?)" if offered else ""
