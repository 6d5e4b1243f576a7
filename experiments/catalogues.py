"""Messages of programs and their translations, from gettext catalogues, in parts without near duplicates."""

import collections
import importlib.util
import pathlib
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polib

from experiments import command

PACKAGES = {
    "django": "Django", "cms": "django-cms", "oscar": "django-oscar", "wagtail": "wagtail", "allauth": "django-allauth",
    "rest_framework": "djangorestframework",
}  # fmt: skip
"""Packages whose catalogues are read by default: their modules, and their names for pip."""
PLACEHOLDER = re.compile(
    r"%\([^()]*\)[-#0 +]*[\d.]*[a-zA-Z]"  # %(name)s
    r"|%[A-Z][A-Z0-9_]{2,}"  # %PRODUCTNAME
    r"|%\d*\$?[-#0+]*[\d.]*(?:hh?|ll?|z)?[diouxXeEfFgGcrsap](?![a-zA-Z])"  # %s, %2$d
    r"|%\d+(?![\d%])|\$\d+"  # %1, $1
    r"|\{[^{}\s]*\}|\$\{[^{}]*\}|\$\([^()]*\)"  # {name}, ${name}, $(ARG1)
    r"|</?[a-zA-Z][^<>]*>"  # <b>
)
MOST = 8
"""The largest number of different placeholders of a message."""
LEAST = 100
"""The least number of messages, so that each part has some."""


class Pair(NamedTuple):
    """A message, its translation, and its placeholders, which stand as marks in both.

    Attributes:
      source, target: texts with marks.
      names: the placeholders, in the order of the source.
    """

    source: str
    target: str
    names: tuple[str, ...]


def mark(number: int) -> str:
    """The mark of a placeholder: one symbol."""
    return chr(0xE000 + number)  # for private use


def marked(source: str, target: str) -> Pair | None:
    """A pair with marks; None if the two do not have the same placeholders."""
    names = tuple(dict.fromkeys(PLACEHOLDER.findall(source)))
    if collections.Counter(PLACEHOLDER.findall(source)) != collections.Counter(PLACEHOLDER.findall(target)):
        return None
    if len(names) > MOST:
        return None
    source, target = (PLACEHOLDER.sub(lambda m: mark(names.index(m.group())), text) for text in (source, target))
    return Pair(*without_shortcuts(source, target), names)


def without_shortcuts(source: str, target: str) -> tuple[str, str]:
    """Both texts without the mark of a shortcut, as in Sav_e or ~Save, where each has one, in words that differ."""
    for sign in "_~":
        words = [[word for word in text.split() if re.search(f"{sign}\\w", word)] for text in (source, target)]
        if source.count(sign) == target.count(sign) == 1 == len(words[0]) == len(words[1]) and words[0] != words[1]:
            source, target = source.replace(sign, ""), target.replace(sign, "")
    return source, target


def filled(text: str, names: Sequence[str]) -> str:
    """A text with placeholders in the place of their marks."""
    for i, name in enumerate(names):
        text = text.replace(mark(i), name)
    return text


def files(folder: pathlib.Path, language: str) -> list[pathlib.Path]:
    """The catalogues of a language in a folder: .../<language>/LC_MESSAGES/*, or files that have its name."""
    found = [path for suffix in ("mo", "po") for path in sorted(folder.rglob(f"*.{suffix}"))]
    ours = [path for path in found if language in (path.stem, *path.relative_to(folder.parent).parts[-3:-1])]
    compiled = {path.with_suffix("") for path in ours if path.suffix == ".mo"}
    return [path for path in ours if path.suffix == ".mo" or path.with_suffix("") not in compiled]


def messages(file: pathlib.Path) -> Iterator[tuple[str, str]]:
    """The messages of a catalogue and their translations; of plurals, the first and the last form."""
    entries: Any = polib.mofile(str(file)) if file.suffix == ".mo" else polib.pofile(str(file))
    for entry in entries:
        if not entry.obsolete and "fuzzy" not in getattr(entry, "flags", ()):
            if entry.msgid_plural:
                forms = [entry.msgstr_plural[n] for n in sorted(entry.msgstr_plural)]
                yield from ((entry.msgid, forms[0]), (entry.msgid_plural, forms[-1]))
            else:
                yield entry.msgid, entry.msgstr


def installed() -> dict[str, pathlib.Path]:
    """The folders of the packages that are installed, by their names for pip."""
    found = {name: importlib.util.find_spec(module) for module, name in PACKAGES.items()}
    places = {name: spec.submodule_search_locations for name, spec in found.items() if spec}
    return {name: pathlib.Path(place[0]) for name, place in places.items() if place}


def load(folder: pathlib.Path | None, language: str, longest: int) -> list[Pair]:
    """The messages of up to `longest` letters in a folder's catalogues, or in those of the packages."""
    if folder is None:
        roots = list(installed().values())
        if not roots:
            names = " ".join(PACKAGES.values())
            command.refuse(f"translation: needs catalogues: pip install {names}; or --catalogues, a folder")
        missing = ", ".join(name for name in PACKAGES.values() if name not in installed())
        print(f"catalogues of {', '.join(installed())}{missing and '; not installed: '}{missing}")
    else:
        command.expect("catalogues", "a folder", folder.is_dir(), folder)
        roots = [folder]
    texts: dict[str, str] = {}
    counts: collections.Counter[str] = collections.Counter()
    read = [file for root in roots for file in files(root, language)]
    for file in read:
        try:
            found = list(messages(file))
        except (OSError, ValueError, struct.error) as error:
            print(f"left out, since it can't be read: {file} ({str(error).splitlines()[0]})")
            continue
        for source, target in found:
            source, target = (" ".join(text.split()) for text in (source, target))
            if not source or not target or max(len(source), len(target)) > longest:
                counts["empty or too long"] += 1
            elif texts.setdefault(source, target) != target:
                counts["another translation of the same message"] += 1
    pairs = [marked(*pair) for pair in sorted(texts.items())]
    counts["other placeholders than the message"] = pairs.count(None)
    kept = list({pair[:2]: pair for pair in pairs if pair is not None}.values())  # "Page %d", "Page %s" are the same
    counts["the same as another message"] = len(pairs) - pairs.count(None) - len(kept)
    left_out = ", ".join(f"{n:,} {why}" for why, n in sorted(counts.items()) if n)
    print(f"{len(kept):,} messages in {len(read)} catalogues; left out: {left_out or 'none'}")
    command.expect("catalogues", f"{LEAST} messages in {language!r}, or more", len(kept) >= LEAST, len(kept))
    return kept


def split(pairs: list[Pair], most: int | None = None) -> dict[str, list[Pair]]:
    """Parts such that messages equal but for digits, case, marks of shortcuts and spaces are in one of them.

    The parts are the same in each run; of more than `most` messages, some are left out.
    """
    groups: dict[str, list[Pair]] = collections.defaultdict(list)
    for pair in pairs:
        groups[alike(pair.source)].append(pair)
    order = np.random.default_rng(0).permutation(sorted(groups))
    parts: dict[str, list[Pair]] = {"test": [], "validation": [], "train": []}
    count = min(most or len(pairs), len(pairs))
    limits = {"test": count // 10, "validation": count // 10 + count // 20, "train": count}
    taken = 0
    for key in order:
        part = next((name for name, limit in limits.items() if taken < limit), None)
        if part is None:
            break
        parts[part] += groups[str(key)]
        taken += len(groups[str(key)])
    return parts


def alike(source: str) -> str:
    """The text that near duplicates share."""
    text = re.sub("[~&_]+", "", source.casefold())
    return re.sub(r"\d+", "0", re.sub(r"\s+", " ", text)).strip(" .:…!?")
