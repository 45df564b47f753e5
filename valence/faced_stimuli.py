"""Recordings: the 28 film clips of FACED. The publisher's Stimuli_info.xlsx in, one Stimulus a clip out.

The same table is held here as well (`STIMULI`), for folders that come without the file. Chen et al. 2023, Scientific
Data 10:740, doi 10.1038/s41597-023-02650-w; the clips themselves are not published.
"""

import unicodedata
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from valence.dataset_checks import file_is_there
from valence.errors import BadInput

STIMULI_INFO = "Stimuli_info.xlsx"
HEADER = ("Video index", "Duration（s）", "Source Film", "Source Database", "Valence", "Targeted Emotion")
NEUTRAL = "\\"
"""what stands in the place of the emotion of a neutral clip"""
VALENCES = ("negative", "neutral", "positive")
N_CLIPS = 28
MOST_BYTES = 20_000_000
"""a workbook that unpacks to more than this is refused before it is unpacked"""


@dataclass(frozen=True)
class Stimulus:
    """A clip as the publisher describes it."""

    duration_s: float
    """whole seconds; subjects 036 to 060 watched a longer version of clip 22, of 83 s"""
    film: str
    """compatibility characters resolved (Ⅲ is III)"""
    database: str
    """collection of film clips it comes from; "" where the publisher names none"""
    valence: str
    """one of VALENCES: the sign that the clip was chosen for"""
    emotion: str
    """lower case, one of FACED's nine classes"""


def _stimuli(*rows: tuple[float, str, str, str, str]) -> tuple[Stimulus, ...]:
    return tuple(Stimulus(*row) for row in rows)


STIMULI = _stimuli(
    (81, "The Tokyo Trial", "DCEF", "negative", "anger"),
    (64, "Documentary about the Nanjing Massacre", "THU-EP", "negative", "anger"),
    (73, "City of Life and Death", "DCEF", "negative", "anger"),
    (79, "Trainspotting", "FilmStim", "negative", "disgust"),
    (69, "Indiana Jones and the Last Crusade", "FilmStim", "negative", "disgust"),
    (91, "Hellraiser", "FilmStim", "negative", "disgust"),
    (56, "The Shining", "FilmStim", "negative", "fear"),
    (60, "The Shining", "", "negative", "fear"),
    (106, "The Exorcist", "FilmStim", "negative", "fear"),
    (45, "In Bruges", "PED", "negative", "sadness"),
    (60, "Departures", "PED", "negative", "sadness"),
    (82, "Gangs of New York", "PED", "negative", "sadness"),
    (35, "Blue", "FilmStim", "neutral", "neutral"),
    (44, "Blue", "FilmStim", "neutral", "neutral"),
    (39, "Blue", "FilmStim", "neutral", "neutral"),
    (43, "Blue", "FilmStim", "neutral", "neutral"),
    (56, "Modern Times", "PED", "positive", "amusement"),
    (70, "Minions", "PED", "positive", "amusement"),
    (73, "Mr. Bean", "PED", "positive", "amusement"),
    (129, "Forrest Gump", "PED", "positive", "inspiration"),
    (77, "The Theory of Everything", "PED", "positive", "inspiration"),
    (76, "The Shawshank Redemption", "PED", "positive", "inspiration"),
    (34, "My Neighbor Totoro", "PED", "positive", "joy"),
    (37, "Night at the Museum III", "PED", "positive", "joy"),
    (68, "Harry Potter I", "PED", "positive", "joy"),
    (63, "The Pursuit of Happiness", "PED", "positive", "tenderness"),
    (54, "Juno", "PED", "positive", "tenderness"),
    (77, "Sex and the City II", "PED", "positive", "tenderness"),
)
"""clips 1 to 28"""
FILMS = tuple(stimulus.film for stimulus in STIMULI)
"""film that each clip was cut from: 24 films; 7 and 8 share one, and so do 13 to 16"""


def read_stimuli(path: Path) -> tuple[Stimulus, ...]:
    """Stimuli_info.xlsx, clips 1 to 28 in order.

    Raises
    ------
    BadInput : where the file is no workbook, is crafted to unpack to very much, or its rows are not clips 1 to 28.
    """
    rows = _sheet(path)
    header = tuple(_text(cell) for cell in rows[0]) if rows else ()
    if header != tuple(_text(name) for name in HEADER):
        raise _refused(path, f"the first row is {header}")
    found: dict[object, Stimulus] = {}
    for row in rows[1:]:
        if not (isinstance(row[0], int | float) and not isinstance(row[0], bool)):
            continue  # empty rows and notes below the table
        if row[0] in found:
            raise _refused(path, f"clip {row[0]} appears twice")
        found[row[0]] = _stimulus(path, row)
    if sorted(found) != list(range(1, N_CLIPS + 1)):  # type: ignore[type-var]
        raise _refused(path, f"the clips are {', '.join(str(clip) for clip in found) or 'none'}")
    return tuple(found[clip] for clip in range(1, N_CLIPS + 1))


def _stimulus(path: Path, row: Sequence[object]) -> Stimulus:
    _clip, duration, film, database, valence, emotion = row
    if not (isinstance(duration, int | float) and 0 < duration < 3600):
        raise _refused(path, f"clip {row[0]} lasts {duration!r}")
    if (sign := _text(valence).lower()) not in VALENCES or not _text(film) or not _text(emotion):
        raise _refused(path, f"clip {row[0]} has film {film!r}, valence {valence!r} and emotion {emotion!r}")
    return Stimulus(
        duration_s=float(duration),
        film=_text(film),
        database="" if _text(database) == NEUTRAL else _text(database),
        valence=sign,
        emotion="neutral" if _text(emotion) == NEUTRAL else _text(emotion).lower(),
    )


def _sheet(path: Path) -> list[tuple[object, ...]]:
    """Values of the first sheet, its first six columns."""
    try:
        import openpyxl
    except ImportError as error:
        raise BadInput(f"{path}: openpyxl is missing", allowed="openpyxl", do="install valence again") from error
    try:
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(entry.file_size for entry in archive.infolist())
        if n_bytes > MOST_BYTES:
            raise _refused(path, f"it unpacks to {n_bytes:,} bytes")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            rows = book.worksheets[0].iter_rows(max_row=200, max_col=len(HEADER), values_only=True)
            return [tuple(row) + (None,) * (len(HEADER) - len(row)) for row in rows]
        finally:
            book.close()
    except BadInput:
        raise
    except Exception as error:  # openpyxl raises what it meets in a damaged file
        raise _refused(path, f"cannot be read: {type(error).__name__}: {error}") from error


def _text(cell: object) -> str:
    """A cell as text, compatibility characters (no-break space, Ⅲ) resolved."""
    return unicodedata.normalize("NFKC", "" if cell is None else str(cell)).strip()


def _refused(path: Path, got: str) -> BadInput:
    return BadInput(
        f"{path}: {got}",
        allowed=f"an .xlsx workbook of less than {MOST_BYTES:,} bytes unpacked, columns {', '.join(HEADER)}, a row for "
        f"each of clips 1 to {N_CLIPS}",
        do="fetch the file again, or remove it: the published table is then taken as this package holds it",
    )


def describe_those_of(folder: Path) -> tuple[str, ...]:
    """One sentence a clip, of the publisher's table where a folder has it, else as this package holds it."""
    path = folder / STIMULI_INFO
    return describe(read_stimuli(path) if file_is_there(path) else STIMULI)


def describe(stimuli: Sequence[Stimulus] = STIMULI, *, with_emotion: bool = True) -> tuple[str, ...]:
    """One sentence a clip, of what the publisher says about it.

    Parameters
    ----------
    with_emotion : name the emotion that the clip was chosen for. Without it the sentence tells no label, and clips of
        one film differ in their length alone.
    """
    sentences = []
    for stimulus in stimuli:
        what = f"A clip of {stimulus.duration_s:g} seconds from the film {stimulus.film}"
        if with_emotion and stimulus.valence == "neutral":
            what += ", chosen to be emotionally neutral"
        elif with_emotion:
            what += f", chosen to evoke {stimulus.emotion}, a {stimulus.valence} emotion"
        sentences.append(what + ".")
    return tuple(sentences)
