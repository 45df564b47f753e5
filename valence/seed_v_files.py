"""Recordings: the facts of SEED-V, how CBraMod processes it, and which file of its folder is which subject and session.

In: the folder as published (`EEG_raw/`, `EEG_DE_features/`). Out: names, times, labels and paths.
Liu et al. 2021, IEEE Transactions on Cognitive and Developmental Systems, doi 10.1109/TCDS.2021.3071170. Times, labels
and channel order are those of the publisher's `trial_start_end_timestamp.txt`, label table and `Channel Order.xlsx`.
"""

import re
from pathlib import Path

from valence.errors import BadInput
from valence.processing import Processing

RAW_FOLDER = Path("EEG_raw")
FEATURES_FOLDER = Path("EEG_DE_features")
N_SUBJECTS = 16
N_SESSIONS = 3
FILMS_PER_SESSION = 15
BLOCK_FILMS = 5
"""each session shows three blocks of five films, one of each class"""
RECORDED_SFREQ = 1000.0
"""Hz of the published recordings"""
CH_NAMES = (
    *("Fp1", "Fpz", "Fp2", "AF3", "AF4", "F7", "F5", "F3", "F1", "Fz", "F2", "F4", "F6", "F8"),
    *("FT7", "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6", "FT8"),
    *("T7", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "T8"),
    *("TP7", "CP5", "CP3", "CP1", "CPz", "CP2", "CP4", "CP6", "TP8"),
    *("P7", "P5", "P3", "P1", "Pz", "P2", "P4", "P6", "P8"),
    *("PO7", "PO5", "PO3", "POz", "PO4", "PO6", "PO8", "CB1", "O1", "Oz", "O2", "CB2"),
)
"""the published order; the files write them in capitals. CB1 and CB2 (cerebellar) are not of the 10-10 system"""
CLASSES = ("disgust", "fear", "sad", "neutral", "happy")
LABELS = (
    (4, 1, 3, 2, 0, 4, 1, 3, 2, 0, 4, 1, 3, 2, 0),
    (2, 1, 3, 0, 4, 4, 0, 3, 2, 1, 3, 4, 1, 2, 0),
    (2, 1, 3, 0, 4, 4, 0, 3, 2, 1, 3, 4, 1, 2, 0),
)
"""index into `CLASSES` of each film of each session"""
START_S = (
    (30, 132, 287, 555, 773, 982, 1271, 1628, 1730, 2025, 2227, 2435, 2667, 2932, 3204),
    (30, 299, 548, 646, 836, 1000, 1091, 1392, 1657, 1809, 1966, 2186, 2333, 2490, 2741),
    (30, 353, 478, 674, 825, 908, 1200, 1346, 1451, 1711, 2055, 2307, 2457, 2726, 2888),
)
END_S = (
    (102, 228, 524, 742, 920, 1240, 1568, 1697, 1994, 2166, 2401, 2607, 2901, 3172, 3359),
    (267, 488, 614, 773, 967, 1059, 1331, 1622, 1777, 1908, 2153, 2302, 2428, 2709, 2817),
    (321, 418, 643, 764, 877, 1147, 1284, 1418, 1679, 1996, 2275, 2425, 2664, 2857, 3066),
)
"""where each film of each session begins and ends in its recording, seconds"""
FEATURE_STEP_S = 4.0
"""seconds that one value of the published features stands for; what is left of a clip at its end has no value"""
CBRAMOD_PROCESSING = Processing(name="seed-v-cbramod", low_hz=0.3, high_hz=75.0, sfreq_hz=200.0)
"""of Wang et al. 2025 (CBraMod), who resample first and take no notch; they go on to divide µV by 100"""
KNOWN_CORRUPT = "7_1_20180411.cnt"
"""published with a header that does not add up; the publisher later added the same recording as `…_repaired.cnt`"""
REPAIRED = "_repaired"
_RAW_FILE = re.compile(r"(\d{1,2})_(\d)_(\d{8})(?:_repaired)?\.cnt", re.IGNORECASE)
_FEATURE_FILE = re.compile(r"(\d{1,2})_123\.npz", re.IGNORECASE)


def subject_name(number: int) -> str:
    """Name of a subject, numbered from 1: 7 is "sub07", so that names sort as numbers do."""
    return f"sub{number:02d}"


def raw_pattern(subject: object, session: object) -> str:
    """How the recording of a session is named."""
    return f"{subject}_{session}_{{date}}.cnt"


def clip_index(session: int, film: int) -> int:
    """Index, from 0, of a clip: session and film are counted from 1."""
    return FILMS_PER_SESSION * (session - 1) + film - 1


def clip_place(clip: int) -> tuple[int, int]:
    """Session and film, both from 1, of the clip with this index."""
    return clip // FILMS_PER_SESSION + 1, clip % FILMS_PER_SESSION + 1


def film_name(clip: int) -> str:
    """What we call the film of a clip: the 45 clips show 45 films, whose published titles are in Chinese."""
    session, film = clip_place(clip)
    return f"session {session} film {film}"


def find_raw(root: Path) -> dict[str, dict[int, Path]]:
    """The recording of each session of each subject on disk, sorted; a repaired file takes the place of its original.

    Raises BadInput where a .cnt file has no name of the data set, or two files claim one session.
    """
    claims: dict[tuple[str, int], list[Path]] = {}
    for path in _files(root / RAW_FOLDER, ".cnt"):
        match = _RAW_FILE.fullmatch(path.name)
        if match is None or not (1 <= int(match[1]) <= N_SUBJECTS and 1 <= int(match[2]) <= N_SESSIONS):
            raise _unknown(path, raw_pattern(f"{{subject 1 to {N_SUBJECTS}}}", f"{{session 1 to {N_SESSIONS}}}"))
        claims.setdefault((subject_name(int(match[1])), int(match[2])), []).append(path)
    found: dict[str, dict[int, Path]] = {}
    for (subject, session), paths in sorted(claims.items()):
        names = {path.stem.lower() for path in paths}
        kept = [path for path in paths if path.stem.lower() + REPAIRED not in names]
        if len(kept) > 1:
            raise _twice(f"session {session} of {subject}", kept[0], kept[1])
        found.setdefault(subject, {})[session] = kept[0]
    return found


def find_features(root: Path) -> dict[str, Path]:
    """The file of features of each subject on disk, sorted. Raises BadInput as `find_raw` does."""
    found: dict[str, Path] = {}
    for path in _files(root / FEATURES_FOLDER, ".npz"):
        match = _FEATURE_FILE.fullmatch(path.name)
        if match is None or not 1 <= int(match[1]) <= N_SUBJECTS:
            raise _unknown(path, f"{{subject 1 to {N_SUBJECTS}}}_123.npz")
        known = found.setdefault(subject_name(int(match[1])), path)
        if known is not path:
            raise _twice(subject_name(int(match[1])), known, path)
    return dict(sorted(found.items()))


def _files(folder: Path, suffix: str) -> list[Path]:
    """Files of a folder with this ending, sorted; hidden ones are the file system's own."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == suffix and path.name[0] != ".")


def _unknown(path: Path, pattern: str) -> BadInput:
    return BadInput(f"{path}: not the name of a file of SEED-V", allowed=pattern, do="rename it, or move it elsewhere")


def _twice(what: str, known: Path, path: Path) -> BadInput:
    return BadInput(
        f"{path.parent}: {what} is there twice, as {known.name} and {path.name}",
        allowed="one file a session, and one a subject for the features",
        do="move one of them elsewhere",
    )
