"""Translation: placeholders, catalogues, the split, pieces, the memory, scores, and a small run."""

import dataclasses
import json
import re

import jax
import numpy as np
import polib
import pytest
import sacrebleu

from experiments import catalogues, translation
from experiments.catalogues import MOST, PLACEHOLDER, Pair, mark, marked
from experiments.translation import STOP, Memory, Pieces

GERMAN = {
    "red": "rot", "green": "grün", "blue": "blau", "black": "schwarz", "white": "weiß", "grey": "grau",
    "brown": "braun", "pink": "rosa", "house": "Haus", "tree": "Baum", "car": "Auto", "book": "Buch", "door": "Tür",
    "table": "Tisch", "chair": "Stuhl", "lamp": "Lampe", "shirt": "Hemd", "ball": "Ball", "cup": "Tasse",
    "box": "Kiste", "bag": "Tasche", "hat": "Hut",
}  # fmt: skip
COLOURS, THINGS = [*GERMAN][:8], [*GERMAN][8:]


def catalogue(path, pairs):
    """Writes a .po file, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = polib.POFile()
    file.metadata = {"Content-Type": "text/plain; charset=utf-8", "Plural-Forms": "nplurals=2; plural=(n != 1);"}
    file.extend(polib.POEntry(msgid=source, msgstr=target) for source, target in pairs)
    file.save(str(path))
    return path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("%s of %(name)s, %2$d", ["%s", "%(name)s", "%2$d"]),
        ("{name} {} {0:d} {a b}", ["{name}", "{}", "{0:d}"]),
        ("100% sure, 5 %", []),
        ("start %PRODUCTNAME $(ARG1) ${x}", ["%PRODUCTNAME", "$(ARG1)", "${x}"]),
        ('<b>a</b> < 3 <a href="x">', ["<b>", "</b>", '<a href="x">']),
        ("%(count)d items, %.2f", ["%(count)d", "%.2f"]),
        ("Page %1 of %2, $1 at 100 %, %%", ["%1", "%2", "$1"]),
    ],
)
def test_placeholders(text, found):
    assert PLACEHOLDER.findall(text) == found


def test_placeholders_become_marks_and_come_back():
    pair = marked("%s in %(a)s, %s", "In %(a)s: %s und %s")
    assert pair == Pair(f"{mark(0)} in {mark(1)}, {mark(0)}", f"In {mark(1)}: {mark(0)} und {mark(0)}", ("%s", "%(a)s"))
    assert catalogues.filled(pair.target, pair.names) == "In %(a)s: %s und %s"
    assert marked("%s", "%d") is None
    assert marked("%s", "%s %s") is None
    assert marked(" ".join(f"{{n{i}}}" for i in range(9)), " ".join(f"{{n{i}}}" for i in range(9))) is None


@pytest.mark.parametrize(
    ("pair", "found"),
    [
        (("Sav_e now", "_Jetzt sichern"), ("Save now", "Jetzt sichern")),
        (("~File", "Date~i"), ("File", "Datei")),
        (("open_file now", "jetzt open_file"), ("open_file now", "jetzt open_file")),
        (("a_b_c", "a_b"), ("a_b_c", "a_b")),
        (("_Save", "Sichern"), ("_Save", "Sichern")),
        (("R&D", "F&E"), ("R&D", "F&E")),
    ],
)
def test_shortcuts_are_left_out(pair, found):
    assert catalogues.without_shortcuts(*pair) == found
    assert marked(*pair) == Pair(*found, ())


def test_catalogues_of_a_language_are_found_once(tmp_path):
    po = catalogue(tmp_path / "a" / "de" / "LC_MESSAGES" / "x.po", [("House", "Haus")])
    mo = po.with_suffix(".mo")
    polib.pofile(str(po)).save_as_mofile(str(mo))
    own = catalogue(tmp_path / "b" / "de.po", [("Tree", "Baum")])
    catalogue(tmp_path / "a" / "fr" / "LC_MESSAGES" / "x.po", [("House", "Maison")])
    assert catalogues.files(tmp_path, "de") == [mo, own]
    assert catalogues.files(tmp_path / "a" / "de", "de") == [mo]
    assert catalogues.files(tmp_path / "b", "de") == [own]
    other = catalogue(tmp_path / "de" / "x" / "it.po", [("House", "Casa")])
    assert catalogues.files(tmp_path / "de" / "x", "de") == []
    assert catalogues.files(tmp_path / "de" / "x", "it") == [other]
    assert [*catalogues.messages(mo)] == [*catalogues.messages(po)] == [("House", "Haus")]


def test_messages_have_both_numbers_and_no_guesses(tmp_path):
    file = polib.POFile()
    file.metadata = {"Content-Type": "text/plain; charset=utf-8", "Plural-Forms": "nplurals=2; plural=(n != 1);"}
    file.append(polib.POEntry(msgid="%d day", msgid_plural="%d days", msgstr_plural={0: "%d Tag", 1: "%d Tage"}))
    file.append(polib.POEntry(msgid="old", msgstr="alt", obsolete=True))
    file.append(polib.POEntry(msgid="may", msgstr="Mai", flags=["fuzzy"]))
    file.save(str(tmp_path / "de.po"))
    found = [*catalogues.messages(tmp_path / "de.po")]
    assert found == [("%d day", "%d Tag"), ("%d days", "%d Tage")]


def colours(count=112):
    """Messages such as "The red house", and their translations."""
    both = [(f"The {c} {t} is new", f"{GERMAN[t]} {GERMAN[c]} ist neu") for c in COLOURS for t in THINGS]
    return both[:count]


SAME = [("The new house of %s is red", "Rot: %s"), ("The new house of %d is red", "Rot: %d")]


def test_a_broken_catalogue_is_named_and_left_out(tmp_path, capsys):
    catalogue(
        tmp_path / "good" / "de.po",
        [*colours(), ("The red house is new", "noch einmal"), ("%s", "%d"), ("x", ""), *SAME],
    )
    for name, data in (("broken", b"\x00" * 40), ("cut", b"\xde\x12\x04\x95\x00\x00")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "de.mo").write_bytes(data)
    found = catalogues.load(tmp_path, "de", longest=160)
    assert (len(found), len({pair[:2] for pair in found})) == (113, 113)
    parts = catalogues.split(found)
    assert {part: len(pairs) for part, pairs in parts.items()} == {"test": 11, "validation": 5, "train": 97}
    out = capsys.readouterr().out
    assert out.count("left out, since it can't be read: ") == 2
    assert "113 messages in 3 catalogues; left out: 1 another translation of the same message, 1 empty or too" in out
    assert ", 1 other placeholders than the message, 1 the same as another message\n" in out
    with pytest.raises(SystemExit, match="--catalogues: expected 100 messages in 'fr', or more, got 0"):
        catalogues.load(tmp_path, "fr", longest=160)
    with pytest.raises(SystemExit, match="--catalogues: expected a folder, got nowhere"):
        catalogues.load(tmp_path.relative_to(tmp_path) / "nowhere", "de", longest=160)


def test_messages_that_are_nearly_equal_are_in_one_part():
    texts = [
        f"{form} {i // 6}" for i, form in enumerate(["Save ~File", "save file", "SAVE  FILE:", "save _file..."] * 60)
    ]
    pairs = [Pair(f"{chr(97 + i % 7)} {text}", "", ()) for i, text in enumerate(texts)]
    parts = catalogues.split(pairs)
    keys = {part: {catalogues.alike(pair.source) for pair in found} for part, found in parts.items()}
    assert sum(map(len, keys.values())) == len(set().union(*keys.values()))
    assert catalogues.alike("Page 10 of ~20") == catalogues.alike("page 3 of 4.")
    assert catalogues.alike("Pages") != catalogues.alike("Page")
    assert catalogues.alike("Fo~rm") == catalogues.alike("_Form") == catalogues.alike("form")
    assert catalogues.split(pairs) == parts


PAIRS = [Pair(source, target, ()) for source, target in colours()] + [
    Pair(f"The {mark(0)} is {mark(1)}", f"{mark(1)} ist {mark(0)}", ("%s", "{name}"))
]


def test_pieces_keep_texts_and_marks():
    pieces = Pieces(PAIRS, 100)
    for pair in PAIRS[-3:]:
        for text in (pair.source, pair.target):
            numbers = pieces.encode(text)
            assert pieces.decode(numbers) == text
            assert STOP not in numbers
            assert pieces.decode(np.concatenate([numbers, [STOP], numbers])) == text
    assert len(pieces.encode(mark(0))) <= 2
    shown = pieces.names(pieces.encode(PAIRS[-1].source), PAIRS[-1].names)
    assert "%s" in " ".join(shown)


def test_pieces_keep_letters_that_have_a_compatible_form():
    pair = Pair("Save as…", "Speichern unter… ½ m²", ())
    pieces = Pieces([*PAIRS, pair], 100)
    assert [pieces.decode(pieces.encode(text)) for text in pair[:2]] == [*pair[:2]]


def test_too_few_pieces_are_refused_by_name():
    with pytest.raises(SystemExit, match=r"--pieces: expected at least \d+, for the letters of these messages, got 20"):
        Pieces(PAIRS, 20)
    with pytest.raises(SystemExit) as found:
        Pieces(PAIRS, 1)
    least = int(re.findall(r"least (\d+)", str(found.value))[0])
    assert len(Pieces(PAIRS, least)) == least


def test_each_message_gets_its_own_translation_whatever_is_decoded_beside_it(monkeypatch):
    pairs = [Pair(source, target, ()) for source, target in colours(12)] + [Pair("The tree", "Baum", ())]
    pieces = Pieces(PAIRS, 100)
    config = dataclasses.replace(translation.SMOKE, samples=1, similar=False)
    model = translation.build(config, len(pieces))
    params = jax.tree.map(lambda x: 3 * x, model.init(jax.random.key(0)))
    found = {}
    for rows in (16, 5):
        monkeypatch.setattr(translation, "ROWS", rows)
        found[rows] = translation.translations(config, model, params, pairs, pieces, None)
    assert len({*found[16]["greedy"]}) > 6
    assert [found[16][how] for how in ("greedy", "beam")] == [found[5][how] for how in ("greedy", "beam")]


def test_rows_are_pairs_beside_the_most_similar_translation():
    pieces = Pieces(PAIRS, 100)
    rows = translation.rows(PAIRS[:2], [PAIRS[2], PAIRS[-1]], pieces)
    assert [len(x) for x in rows.values()] == [2, 2, 2]
    for previous, targets in zip(rows["previous"], rows["targets"], strict=True):
        assert previous[0] == targets[-1] == STOP
        np.testing.assert_array_equal(previous[1:], targets[:-1])
    assert [pieces.decode(x) for x in rows["targets"]] == [pair.target for pair in PAIRS[:2]]
    read = [pieces.decode(x).split(mark(MOST)) for x in rows["xs"]]
    assert [[text.strip() for text in texts] for texts in read] == [
        [PAIRS[0].source, PAIRS[2].target], [PAIRS[1].source, PAIRS[-1].target],
    ]  # fmt: skip
    alone = translation.rows(PAIRS[:2], None, pieces)
    assert [pieces.decode(x) for x in alone["xs"]] == [pair.source for pair in PAIRS[:2]]


def test_the_memory_finds_the_most_similar_message():
    memory = Memory(
        [Pair("Delete the file", "Datei entfernen", ()), Pair(f"Save {mark(0)}", f"{mark(0)} sichern", ("%s",))]
    )
    new = [Pair("Delete this file", "", ()), Pair(f"Save {mark(0)} now", "", ("%(name)s",)), Pair("Save it", "", ())]
    assert memory.similar(new[1:])[0] is memory.similar(new[2:])[0]
    assert memory.similar([Pair("delete the File...", "", ())])[0].target != "Datei entfernen"  # a near duplicate
    assert memory.translate(new) == ["Datei entfernen", "%(name)s sichern", "%s sichern"]


def test_scores():
    pairs = [Pair(f"This is {mark(0)} again", f"Wieder ist das {mark(0)}", ("%s",)), Pair("Stop", "Halt", ())]
    right = translation.scores(pairs, ["Wieder ist das %s", "Halt"])
    assert right == {
        "chrF": pytest.approx(100), "BLEU": pytest.approx(100), "chrF, 4 words or more": pytest.approx(100),
        "BLEU, 4 words or more": pytest.approx(100), "placeholders whole": 1.0,
    }  # fmt: skip
    wrong = translation.scores(pairs, ["Wieder ist das %d", "Halt"])
    assert wrong["placeholders whole"] == 0.0
    assert wrong["chrF"] < 100
    assert translation.whole(pairs[0], f"x {mark(0)}")
    assert not translation.whole(pairs[0], f"{mark(0)} {mark(0)}")


def test_least_risk_is_the_highest_mean_of_chrf():
    texts = ["Datei sichern", "Die Datei sichern", "Ordner öffnen", "a", "", "Datei löschen"]
    score = sacrebleu.CHRF().sentence_score
    for seed in range(20):
        drawn = np.random.default_rng(seed)
        hypotheses, samples = (drawn.choice(texts, n).tolist() for n in (3, 7))
        means = {x: np.mean([score(x, [y]).score for y in samples]) for x in hypotheses}
        assert means[translation.least_risk(hypotheses, samples)] == pytest.approx(max(means.values()), abs=1e-4)


@pytest.mark.parametrize("text", ["", "x", "1 0 1 and 0 0", "0 of 1 1 2"])
def test_mended_translations_have_the_placeholders_of_their_message(text):
    pair = Pair(f"{mark(0)} of {mark(1)}, {mark(1)}", "", ("%s", "%d"))
    text = re.sub(r"\d", lambda m: mark(int(m.group())), text)
    found = translation.mended(pair, text)
    assert translation.whole(pair, found)
    assert re.findall("[a-z]+", found) == re.findall("[a-z]+", text)
    assert translation.mended(pair, found) == found


def test_a_small_run(tmp_path, capsys):
    catalogue(tmp_path / "in" / "de.po", colours())
    out = tmp_path / "out"
    config = dataclasses.replace(translation.SMOKE, progress=False, out=out, catalogues=tmp_path / "in", pieces=60)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        found = translation.main(config)
    names = {"config.json", "metrics.json", "history.json", "curves.png", "attention.png", "translations.txt", "run"}
    assert {path.name for path in out.iterdir()} == names
    assert 0.0 <= found["chrF, 4 words or more"] <= 100.0
    assert json.loads((out / "metrics.json").read_text())["ways"].keys() == {"greedy", "beam", "least risk", "memory"}
    assert len((out / "translations.txt").read_text().strip().split("\n\n")) == 11
    assert "all gradients agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 5}, "--hidden: expected an even number, half of them for each direction, got 5"),
        ({"smoothing": 1.0}, r"--smoothing: expected a rate in \[0, 1\), got 1.0"),
        ({"pieces": 0}, "--pieces: expected a positive integer, got 0"),
        ({"messages": 99}, "--messages: expected 100 or more, got 99"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(SystemExit, match=message):
        translation.Config(**options)
