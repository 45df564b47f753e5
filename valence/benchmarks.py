"""Stage validity: texts with labels that the axis has never seen, as rows of a table; adding one is adding a row.

A row says what the files of a benchmark are called, what its columns and labels mean, and what the study reports.
`valence.benchmark_texts` loads them.
"""

from collections.abc import Mapping

from valence.benchmark_kinds import Benchmark, Part, web
from valence.registry import unknown_name

POLAR = {"negative": 0, "positive": 1, "neg": 0, "pos": 1}
TERNARY = {"negative": 0, "neutral": None, "positive": 1}
SEMEVAL_FILE = r"(?:semeval2017[^/]*|twitter-201\d[^/]*|sms-2013[^/]*|livejournal-2014[^/]*)"
VADER_NAMES = (("id", "valence", "text"),)
VADER_SCORES = {"valence": ("valence", "mean-sentiment-rating")}
VADER_SOURCE = "Hutto & Gilbert 2014, https://github.com/cjhutto/vaderSentiment"


def _vader(name: str, title: str, file: str) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        kind="rating",
        measure="r",
        parts=((Part(split="", files=rf"{file}_groundtruth\.txt", anywhere=True),),),
        names=VADER_NAMES,
        scores=VADER_SCORES,
        group=r"id:^(.*?)(?:_\d+)?$",
        clean=web,
        source=VADER_SOURCE,
        licence="MIT",
    )


ROWS = (
    Benchmark(
        name="sst2",
        title="SST-2",
        kind="binary",
        folders=("sst", "gluesst2", "stanfordnlpsst2"),
        evaluation=("dev|validation|val",),
        hub="stanfordnlp/sst2",
        source="Socher et al. 2013, https://gluebenchmark.com (SST-2)",
        licence="none stated",
        study={
            "axis": ".832 [.804, .858]",
            "probe": ".837 (A, X), .924 (S)",
            "sentence prototypes": ".793",
            "NLI": ".912",
            "axis projected out": ".505",
        },
    ),
    Benchmark(
        name="imdb",
        title="IMDB",
        kind="binary",
        folders=("aclimdb", "stanfordnlpimdb", "aclimdbv1"),
        parts=(
            tuple(
                Part(split=split, files=rf"{folder}/{label}/[^/]+\.txt", form="files", label=value)
                for split, folder in (("evaluation", "test"), ("training", "train"))
                for label, value in (("neg", 0.0), ("pos", 1.0))
            ),
            (Part(split="", files=r"imdb[ _-]dataset\.csv", anywhere=True),),
        ),
        clean=web,
        hub="stanfordnlp/imdb",
        source="Maas et al. 2011, https://ai.stanford.edu/~amaas/data/sentiment",
        licence="none stated",
        study={"axis": ".857"},
    ),
    Benchmark(
        name="yelp",
        title="Yelp polarity",
        kind="binary",
        folders=("yelppolarity", "yelpreviewpolarity", "yelpreviewpolaritycsv", "fancyzhxyelppolarity"),
        names=(("label", "text"),),
        labels=({"1": 0, "2": 1}, {"0": 0, "1": 1}, POLAR, {"1": 0, "2": 0, "3": None, "4": 1, "5": 1}),
        scores={"valence": ("label", "stars", "polarity", "sentiment")},
        clean=web,
        hub="fancyzhx/yelp_polarity",
        source="Zhang et al. 2015, https://github.com/zhangxiangxiao/Crepe",
        licence="Yelp data set licence",
        study={"axis": ".938"},
    ),
    Benchmark(
        name="rotten-tomatoes",
        title="Rotten Tomatoes",
        kind="binary",
        folders=("rottentomatoes", "rtpolaritydata", "rtpolarity", "mr", "cornellmoviereviewdatarottentomatoes"),
        parts=(
            tuple(
                Part(
                    split="",
                    files=rf"rt-polarity\.{label}(?:\.txt)?",
                    form="lines",
                    label=value,
                    encoding="latin1",
                    anywhere=True,
                )
                for label, value in (("neg", 0.0), ("pos", 1.0))
            ),
        ),
        hub="cornell-movie-review-data/rotten_tomatoes",
        source="Pang & Lee 2005, https://www.cs.cornell.edu/people/pabo/movie-review-data",
        licence="none stated",
        study={"axis": ".799"},
    ),
    Benchmark(
        name="semeval2017",
        title="SemEval-2017 task 4",
        kind="binary",
        folders=("semeval", "semeval2017task4", "semeval17", "2017english", "2017englishfinal", "tweetevalsentiment"),
        parts=(
            *(
                (
                    Part(split="evaluation", files=rf"{test}\.(?:txt|tsv|csv)", anywhere=True),
                    Part(split="training", files=r"twitter-201\d(?:train|dev)-A\.(?:txt|tsv)", anywhere=True),
                )
                # its other subtasks, and its Arabic tweets, lie beside it under like names
                for test in (r"semeval2017-task4-test\.subtask-a\.english[^/]*", r"semeval[-_ ]?2017[^/]*test[^/]*")
            ),
            (Part(split="", files=rf"{SEMEVAL_FILE}\.(?:txt|tsv|csv)", anywhere=True),),
        ),
        text=("text", "tweet", "sentence", "content"),
        labels=(
            TERNARY,
            {"0": 0, "1": None, "2": 1},
            {"-1": 0, "0": None, "1": 1},
            {"-2": 0, "-1": 0, "0": None, "1": 1, "2": 1},
            {"0": 0, "1": 1},
        ),
        names=(("id", "label", "text"), ("id", "topic", "label", "text")),
        clean=web,
        source="Rosenthal et al. 2017, https://alt.qcri.org/semeval2017/task4",
        hub="cardiffnlp/tweet_eval:sentiment",
        licence="Twitter's terms",
        study={"axis": ".927"},
    ),
    Benchmark(
        name="emobank",
        title="EmoBank",
        kind="rating",
        measure="r",
        parts=((Part(split="", files=r"emobank\.(?:csv|tsv)", anywhere=True),),),
        scores={"valence": ("v", "valence"), "arousal": ("a", "arousal")},
        # its published split has sentences of one document on both sides
        group=r"id:^(.*?)(?:_\d+_\d+)?$",
        source="Buechel & Hahn 2017, https://github.com/JULIELab/EmoBank",
        licence="CC BY-SA 4.0",
        study={"axis": ".49 – .52", "arousal": ".01 – .06"},
    ),
    _vader("vader", "VADER film reviews", "moviereviewsnippets"),
    _vader("vader-tweets", "VADER tweets", "tweets"),
    _vader("vader-products", "VADER product reviews", "amazonreviewsnippets"),
    _vader("vader-editorials", "VADER editorials", "nyteditorialsnippets"),
    Benchmark(
        name="warriner",
        title="Warriner lexicon",
        kind="lexicon",
        measure="r",
        folders=("warriner2013", "anewextended", "xanew"),
        parts=(
            (Part(split="", files=r"[^/]*(?:warriner|brm-emot-submit)[^/]*\.(?:csv|tsv|txt|parquet)", anywhere=True),),
        ),
        text=("word", "term", "description"),
        scores={"valence": ("v.mean.sum", "valence", "v"), "arousal": ("a.mean.sum", "arousal", "a")},
        source="Warriner, Kuperman & Brysbaert 2013, doi 10.3758/s13428-012-0314-x",
        licence="CC BY-NC-ND 3.0",
        study={"axis": ".703", "arousal": "≤ .18"},
    ),
    Benchmark(
        name="hu-liu",
        title="Hu–Liu lexicon",
        kind="lexicon",
        folders=("huliu", "opinionlexicon", "opinionlexiconenglish"),
        parts=(
            tuple(
                Part(
                    split="",
                    files=rf"{label}[-_]words\.txt",
                    form="lines",
                    label=value,
                    encoding="latin1",
                    comment=";",
                    anywhere=True,
                )
                for label, value in (("negative", 0.0), ("positive", 1.0))
            ),
        ),
        text=("word", "term", "text"),
        source="Hu & Liu 2004, https://www.cs.uic.edu/~liub/FBS/sentiment-analysis.html",
        licence="none stated",
    ),
)
BENCHMARKS: Mapping[str, Benchmark] = {row.name: row for row in ROWS}


def benchmark(name: str) -> Benchmark:
    """The row of a name. Raises BadInput, with close matches, for one that is not there."""
    if name not in BENCHMARKS:
        raise unknown_name("benchmark", name, BENCHMARKS)
    return BENCHMARKS[name]
