"""Benchmarks in the forms their sources publish: written as there, and read to known texts and labels."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from valence.benchmark_folder import find_benchmarks
from valence.benchmark_hub import benchmarks_on_hub, load_from_hub
from valence.benchmark_kinds import KINDS
from valence.benchmark_texts import BenchmarkTexts, load_benchmark
from valence.benchmarks import BENCHMARKS, benchmark
from valence.errors import BadInput

GOOD = [f"good film number {index}" for index in range(30)]
BAD = [f"bad film number {index}" for index in range(30)]
LABELLED = [(text, 1) for text in GOOD] + [(text, 0) for text in BAD]


def load(folder, name, **options) -> BenchmarkTexts:
    assert name in find_benchmarks(folder)
    return load_benchmark(benchmark(name), folder, **options)


def labels_of(part) -> dict[str, float]:
    return dict(zip(part.texts, part.scores["valence"], strict=True))


def everything(loaded: BenchmarkTexts) -> dict[str, float]:
    return labels_of(loaded.evaluation) | labels_of(loaded.training)


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def test_rows_of_the_table_are_complete():
    for name, row in BENCHMARKS.items():
        assert row.name == name
        assert row.kind in KINDS
        assert row.measure in ("AUC", "r")
        assert row.source
        assert row.licence
        assert row.labels


def test_sst2_of_glue_is_read_without_quoting(tmp_path):
    rows = "".join(f"{text}\t{label}\n" for text, label in LABELLED)
    write(tmp_path / "SST-2" / "train.tsv", "sentence\tlabel\n" + rows.replace("film", "phrase"))
    write(tmp_path / "SST-2" / "dev.tsv", "sentence\tlabel\n" + rows + '"an open quote\t1\nthe second row\t0\n')
    write(tmp_path / "SST-2" / "test.tsv", "index\tsentence\n0\tno label here\n")
    loaded = load(tmp_path, "sst2")
    assert labels_of(loaded.evaluation) == dict(LABELLED) | {'"an open quote': 1, "the second row": 0}
    assert labels_of(loaded.training) == {text.replace("film", "phrase"): label for text, label in LABELLED}


@pytest.mark.parametrize("form", ["parquet", "jsonl", "json", "csv"])
def test_tables_named_by_split_are_read_in_every_format(tmp_path, form):
    table = pd.DataFrame(LABELLED, columns=["sentence", "label"])
    folder = tmp_path / "sst2" / "data"
    folder.mkdir(parents=True)
    for split, part in (("validation", table[::2]), ("train", table[1::2])):
        if form == "parquet":
            part.to_parquet(folder / f"{split}-00000-of-00001.parquet")
        elif form == "csv":
            part.to_csv(folder / f"{split}.csv", index=False)
        elif form == "json":
            write(folder / f"{split}.json", json.dumps(part.to_dict("records"), indent=1))
        else:
            write(folder / f"{split}.jsonl", "".join(json.dumps(row) + "\n" for row in part.to_dict("records")))
    loaded = load(tmp_path, "sst2")
    assert labels_of(loaded.evaluation) == dict(LABELLED[::2])
    assert labels_of(loaded.training) == dict(LABELLED[1::2])


def test_imdb_folders_of_texts(tmp_path):
    for split in ("train", "test"):
        for label, texts in (("pos", GOOD), ("neg", BAD)):
            for index, text in enumerate(texts):
                write(tmp_path / "aclImdb" / split / label / f"{index}_9.txt", f"{text}<br /><br />seen in {split}")
    write(tmp_path / "aclImdb" / "train" / "unsup" / "0_0.txt", "no label")
    loaded = load(tmp_path, "imdb")
    assert labels_of(loaded.evaluation) == {f"{text} seen in test": label for text, label in LABELLED}
    assert labels_of(loaded.training) == {f"{text} seen in train": label for text, label in LABELLED}


def test_imdb_csv_is_divided_by_text(tmp_path):
    words = {1: "positive", 0: "negative"}
    rows = [(f'{text}, "quoted"', words[label]) for text, label in LABELLED]
    pd.DataFrame(rows, columns=["review", "sentiment"]).to_csv(tmp_path / "IMDB Dataset.csv", index=False)
    loaded = load(tmp_path, "imdb")
    assert everything(loaded) == {f'{text}, "quoted"': label for text, label in LABELLED}
    assert min(len(loaded.evaluation), len(loaded.training)) > 15
    again = load(tmp_path, "imdb", seed=3)
    assert set(again.evaluation.texts) == set(loaded.evaluation.texts), "the division does not depend on the seed"


def test_yelp_csv_without_header(tmp_path):
    rows = "".join(f'"{label + 1}","{text}\\nsecond line, ""said"" he"\n' for text, label in LABELLED)
    write(tmp_path / "yelp_review_polarity_csv" / "test.csv", rows)
    loaded = load(tmp_path, "yelp")
    assert everything(loaded) == {f'{text} second line, "said" he': label for text, label in LABELLED}


def test_rotten_tomatoes_in_latin1(tmp_path):
    for name, texts in (("pos", GOOD), ("neg", BAD)):
        write(tmp_path / "rt-polaritydata" / f"rt-polarity.{name}", "".join(f"{t} café\n" for t in texts), "latin1")
    assert everything(load(tmp_path, "rotten-tomatoes")) == {f"{text} café": label for text, label in LABELLED}


def test_semeval_drops_neutral_tweets(tmp_path):
    words = {1: "positive", 0: "negative"}
    rows = "".join(f"{i}\t{words[label]}\t{text} \\u2019s &amp; more\t\n" for i, (text, label) in enumerate(LABELLED))
    write(tmp_path / "SemEval2017-task4-test.subtask-A.english.txt", rows + "99\tneutral\tan ordinary day\n")
    arabic = "".join(f"{i}\tpositive\tanother language {i}\n" for i in range(5))
    write(tmp_path / "SemEval2017-task4-test.subtask-A.arabic.txt", arabic)
    write(tmp_path / "SemEval2017-task4-test.subtask-BD.english.txt", "1\ttopic\tnegative\tof a topic\n")
    train = "".join(f"{i}\t{words[label]}\t{text} of 2013\n" for i, (text, label) in enumerate(LABELLED))
    write(tmp_path / "twitter-2013train-A.txt", train)
    loaded = load(tmp_path, "semeval2017")
    assert labels_of(loaded.evaluation) == {f"{text} ’s & more": label for text, label in LABELLED}
    assert len(loaded.training) == len(LABELLED)


@pytest.mark.parametrize(("negative", "neutral", "positive"), [("0", "1", "2"), ("-1", "0", "1"), ("0", None, "1")])
def test_semeval_labels_as_numbers(tmp_path, negative, neutral, positive):
    rows = [(text, positive if label else negative) for text, label in LABELLED]
    rows += [("an ordinary day", neutral)] if neutral else []
    (tmp_path / "semeval2017").mkdir()
    pd.DataFrame(rows, columns=["text", "label"]).to_parquet(tmp_path / "semeval2017" / "test.parquet")
    assert everything(load(tmp_path, "semeval2017")) == dict(LABELLED)


def test_warriner_words_share_a_side_with_their_stem(tmp_path):
    stems = [f"{a}{b}xyz" for a in "abcdefgh" for b in "aeiou"]
    words = [(f"{stem}{end}", 1 + index % 8, index % 5) for index, stem in enumerate(stems) for end in ("", "ly")]
    table = pd.DataFrame(words, columns=["Word", "V.Mean.Sum", "A.Mean.Sum"])
    table.loc[len(table)] = ["null", 4.5, 3.5]
    table.to_csv(tmp_path / "Ratings_Warriner_et_al.csv")
    loaded = load(tmp_path, "warriner")
    assert everything(loaded) == dict(zip(table["Word"], table["V.Mean.Sum"], strict=True))
    arousal = dict(zip(loaded.evaluation.texts, loaded.evaluation.scores["arousal"], strict=True))
    assert arousal.items() <= dict(zip(table["Word"], table["A.Mean.Sum"], strict=True)).items()
    assert not {text[:5] for text in loaded.evaluation.texts} & {text[:5] for text in loaded.training.texts}


def test_hu_liu_words_of_both_lists_are_left_out(tmp_path):
    header = ";;;;\n; Opinion Lexicon\n;\n\n"
    good, bad = [f"{c}good" for c in "abcdefghijklmnopqrst"], [f"{c}bad" for c in "abcdefghijklmnopqrst"]
    write(tmp_path / "positive-words.txt", header + "\n".join([*good, "envious", "naïve"]), "latin1")
    write(tmp_path / "negative-words.txt", header + "\n".join([*bad, "envious"]), "latin1")
    words = dict.fromkeys([*good, "naïve"], 1) | dict.fromkeys(bad, 0)
    assert everything(load(tmp_path, "hu-liu")) == words


def test_real_files(shared_data):
    found = find_benchmarks(shared_data / "text")
    assert set(found) == {"sst2", "emobank", "vader"}
    sst2 = load(shared_data / "text", "sst2")
    assert (len(sst2.evaluation), len(sst2.training)) == (872, 5000)
    assert sst2.evaluation.scores["valence"].sum() == 444
    assert labels_of(sst2.evaluation)["one long string of cliches ."] == 0
    emobank = load(shared_data / "text", "emobank", n_texts=10**6, n_training=10**6)
    assert len(emobank.evaluation) + len(emobank.training) > 9900
    assert len(emobank.training) > 3000
    goodwill = "Goodwill helps people get off of public assistance."
    assert everything(emobank)[goodwill] == 3.44
    vader = load(shared_data / "text", "vader", n_texts=10**6, n_training=10**6)
    assert everything(vader)["Effective but too tepid biopic"] == -0.6


def test_the_hub_gives_what_files_give(tmp_path):
    pytest.importorskip("datasets")
    table = pd.DataFrame(LABELLED, columns=["sentence", "label"])
    for split, part in (("validation", table[::2]), ("train", table[1::2])):
        (tmp_path / "sst2" / "data").mkdir(parents=True, exist_ok=True)
        part.to_parquet(tmp_path / "sst2" / "data" / f"{split}-00000-of-00001.parquet")
    of_files = load(tmp_path, "sst2")
    of_hub = load_from_hub(replace(benchmark("sst2"), hub=str(tmp_path / "sst2")))
    assert of_hub.hash == of_files.hash


def test_the_hub_refused():
    assert set(benchmarks_on_hub()) == {"sst2", "imdb", "yelp", "rotten-tomatoes", "semeval2017"}
    with pytest.raises(BadInput, match="benchmarks from the hub: warriner"):
        benchmarks_on_hub(["sst2", "warriner"])
    with pytest.raises(BadInput, match=r"datasets is not installed|could not be loaded"):
        load_from_hub(replace(benchmark("sst2"), hub="nobody/nothing-of-this-name"))


def test_samples_keep_the_share_of_classes_and_derive_from_the_seed(shared_data):
    few = load(shared_data / "text", "sst2", n_texts=100, n_training=50)
    assert len(few.evaluation) == 100
    assert few.evaluation.scores["valence"].sum() == 51
    assert load(shared_data / "text", "sst2", n_texts=100, n_training=50).hash == few.hash
    other = load(shared_data / "text", "sst2", n_texts=100, n_training=50, seed=1)
    assert other.hash != few.hash


def test_training_texts_that_are_evaluated_are_dropped(tmp_path):
    rows = "".join(f"{text}\t{label}\n" for text, label in LABELLED)
    write(tmp_path / "sst2" / "dev.tsv", "sentence\tlabel\n" + rows)
    write(tmp_path / "sst2" / "train.tsv", "sentence\tlabel\n" + rows.upper() + "another phrase\t1\n")
    assert load(tmp_path, "sst2").training.texts == ("another phrase",)


def test_long_texts_end_with_a_sentence(tmp_path):
    long = "A sentence of five words. " * 60
    rows = "".join(f'"{label + 1}","{text}. {long}"\n' for text, label in LABELLED)
    write(tmp_path / "yelp" / "test.csv", rows)
    for text in load(tmp_path, "yelp").evaluation.texts:
        assert text.endswith("words.")
        assert 100 < len(text.split()) <= 200


REFUSED = {
    "labels of one class": (b"sentence\tlabel\n" + b"".join(b"text %d\t1\n" % i for i in range(20)), "one class: 1"),
    "an empty file": (b"", "it is empty"),
    "a header alone": (b"sentence\tlabel\n", "it is empty"),
    "no column of labels": (b"sentence\tverdict\ngood\t1\n", "its columns are sentence, verdict"),
    "no header": (b"alpha\tbeta\tgamma\n1\t2\t3\n", "alpha, beta, gamma"),
    "unknown labels": (b"sentence\tlabel\na\tyes\nb\tno\n", "labels no, yes"),
    "another encoding": ("sentence\tlabel\ncafé\t1\n".encode("latin1"), "byte 18 is not UTF-8"),
    "two columns of texts": (
        b"sentence\tlabel\tsentence\na\t1\tb\nc\t0\td\n",
        "more than one column is named sentence",
    ),
    "two columns of labels": (b"sentence\tlabel\tLabel\na\t1\t0\nc\t0\t1\n", "more than one column is named label"),
    "two texts": (b"sentence\tlabel\na\t0\nb\t1\n", "2 texts leave 0 to evaluate on"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_cannot_be_used(tmp_path, case):
    content, message = REFUSED[case]
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "dev.tsv").write_bytes(content)
    with pytest.raises(BadInput, match=message) as raised:
        load_benchmark(benchmark("sst2"), tmp_path)
    assert "sst2" in str(raised.value)


def test_damaged_files_and_ratings(tmp_path):
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "validation.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BadInput, match=r"validation\.parquet"):
        load_benchmark(benchmark("sst2"), tmp_path)
    (tmp_path / "sst2" / "validation.parquet").unlink()
    for text, message in (('{"sentence": "a", "label": 1}\n{"sentence"', "line 2"), ("[1, 2]", "line 1 is no object")):
        write(tmp_path / "sst2" / "validation.jsonl", text)
        with pytest.raises(BadInput, match=message):
            load_benchmark(benchmark("sst2"), tmp_path)
    write(tmp_path / "emobank.csv", "id,V,A,text\n1,3.0,high,a text\n")
    with pytest.raises(BadInput, match="row 1 has the rating 'high'"):
        load_benchmark(benchmark("emobank"), tmp_path)
    write(tmp_path / "emobank.csv", "id,V,A,text\n1,3.0,2.0,a text, without quotes\n")
    with pytest.raises(BadInput, match="5 columns, not 4"):
        load_benchmark(benchmark("emobank"), tmp_path)


def test_names_and_folders_that_are_not_there(tmp_path):
    with pytest.raises(BadInput, match="did you mean sst2"):
        benchmark("sst-2")
    with pytest.raises(BadInput, match="no such folder"):
        find_benchmarks(tmp_path / "absent")
    with pytest.raises(BadInput, match="no files of sst2, imdb"):
        find_benchmarks(tmp_path)
    with pytest.raises(BadInput, match="no files of imdb in"):
        find_benchmarks(tmp_path, ["imdb"])


def test_json_that_never_closes(tmp_path):
    write(tmp_path / "sst2" / "validation.json", "[" * 100_000)
    with pytest.raises(BadInput, match=r"validation\.json: line 1"):
        load_benchmark(benchmark("sst2"), tmp_path)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_texts_that_are_missing_are_left_out(tmp_path, form):
    rows = [{"sentence": text, "label": label} for text, label in LABELLED] + [{"sentence": None, "label": 1}]
    folder = tmp_path / "sst2"
    folder.mkdir()
    if form == "parquet":
        pd.DataFrame(rows).to_parquet(folder / "validation.parquet")
    else:
        write(folder / "validation.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert everything(load(tmp_path, "sst2")) == dict(LABELLED)


def test_the_rows_of_a_long_file_derive_from_the_seed(tmp_path, monkeypatch):
    monkeypatch.setattr("valence.benchmark_rows.MOST_ROWS", 40)
    write(
        tmp_path / "sst2" / "dev.tsv", "sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in LABELLED)
    )
    first, again, other = (set(everything(load(tmp_path, "sst2", seed=seed))) for seed in (0, 0, 1))
    assert len(first) == len(other) == 40
    assert first == again != other
