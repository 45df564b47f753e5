"""Rows of the corpus: MATLAB files, raw recordings, tables of the BIDS copy, files of SEED-V."""

import numpy as np
import scipy.io

from tests.valence import faced_recordings as faced_world
from tests.valence import malformed_files as files
from tests.valence import seed_v_recordings as seed_v_world
from tests.valence.malformed_readers import (
    BIDS,
    CNT,
    CNT_FILE,
    DATA,
    DE,
    EVENTS,
    EVENTS_TSV,
    MAT,
    NPZ,
    NPZ_FILE,
    RANKS,
    RAW,
    REMARKS,
    Malformed,
    row,
)

SPANS = [(float(onset), text) for onset, text in faced_world.triggers()]
OTHER_ORDER = faced_world.ORDER[1:] + faced_world.ORDER[:1]

RECORDINGS: tuple[Malformed, ...] = (
    # MATLAB files
    row("mat: truncated", DE, files.mat_file(files.truncated_mat), MAT, "."),
    row("mat: version 7.3", DE, files.mat_file(files.hdf_mat), MAT, "7.3"),
    row(
        "mat: another shape",
        DE,
        files.mat_file(lambda path: scipy.io.savemat(path, {"de": np.zeros((2, 3, 4, 5))})),
        MAT,
        ".",
    ),
    row("mat: objects", DE, files.mat_file(files.cells_mat), MAT, "."),
    row(
        "mat: 64 GiB in its header",
        DE,
        files.mat_file(lambda path: files.mat(path, dims=(28, 32, 30, 2**21))),
        MAT,
        ".",
    ),
    row("mat: the shape without its numbers", DE, files.mat_file(files.mat), MAT, "."),
    row("mat: unpacks to much", DE, files.mat_file(files.bomb_mat), MAT, "."),
    row(
        "ratings: another name",
        RANKS,
        files.remarks(lambda path: scipy.io.savemat(path, {"x": 1.0})),
        REMARKS,
        "After_remark",
    ),
    row(
        "ratings: no structure",
        RANKS,
        files.remarks(lambda path: scipy.io.savemat(path, {"After_remark": np.eye(3)})),
        REMARKS,
        ".",
    ),
    row(
        "ratings: 27 clips",
        RANKS,
        files.remarks(lambda path: faced_world.write_remarks(path, faced_world.ORDER[:27])),
        REMARKS,
        "27",
    ),
    row(
        "ratings: above 7",
        RANKS,
        files.remarks(lambda path: faced_world.write_remarks(path, ratings=9 + np.zeros((28, 12)))),
        REMARKS,
        "0 to 7",
    ),
    row("ratings: text", RANKS, files.remarks(lambda path: path.write_text("joy 3")), REMARKS, "."),
    # raw recordings
    row("bdf: empty", RAW, files.raw_file("data.bdf", lambda data: b""), DATA, "begins with"),
    row("bdf: truncated", RAW, files.raw_file("data.bdf", lambda data: data[:-1_000_000]), DATA, "truncated"),
    row("bdf: header alone", RAW, files.raw_file("data.bdf", lambda data: data[:2000]), DATA, "truncated"),
    row(
        "bdf: numbers of the header are text",
        RAW,
        files.raw_file("data.bdf", lambda data: data[:236] + b"many    " + data[244:]),
        DATA,
        "many",
    ),
    row("bdf: no channel Cz", RAW, files.raw_file("data.bdf", files.labels({"Cz": "X1"})), DATA, "no channel Cz"),
    row("bdf: a channel twice", RAW, files.raw_file("data.bdf", files.labels({"Cz": "Pz"})), DATA, "Pz is there twice"),
    row("bdf: unit not known", RAW, files.raw_file("data.bdf", files.units(b"furlong")), DATA, "furlong"),
    row("bdf: no triggers", RAW, files.raw_file("evt.bdf", lambda data: b"\xffBIOSEMI"), EVENTS, "."),
    row("triggers of another subject", RAW, files.events(faced_world.triggers(OTHER_ORDER)), EVENTS, "was shown where"),
    row("no clip among the triggers", RAW, files.events(SPANS[:5]), EVENTS, "no clip"),
    row("no ratings beside the recording", RAW, files.remarks(lambda path: None), DATA, "no After_remarks.mat"),
    # BIDS tables
    row("bids: clip 29", BIDS, files.bids_events(files.set_cell("video_index", "29")), EVENTS_TSV, "29"),
    row(
        "bids: onset no number",
        BIDS,
        files.bids_events(files.set_cell("onset", "soon")),
        EVENTS_TSV,
        "'soon' is no number",
    ),
    row(
        "bids: emotion of another clip",
        BIDS,
        files.bids_events(files.set_cell("emotion_label", "Boredom")),
        EVENTS_TSV,
        "boredom",
    ),
    row("bids: no clips", BIDS, files.bids_events(lambda lines: lines[:2]), EVENTS_TSV, "no row with a video_index"),
    row("bids: no header", BIDS, files.bids_events(lambda lines: lines[2:]), EVENTS_TSV, "no column"),
    # SEED-V
    row("cnt: empty", CNT, files.cnt(lambda data: b""), CNT_FILE, "cannot be read"),
    row("cnt: truncated", CNT, files.cnt(lambda data: data[: len(data) // 2]), CNT_FILE, "."),
    row("cnt: zeros", CNT, files.cnt(lambda data: bytes(len(data))), CNT_FILE, "."),
    row("cnt: text", CNT, files.cnt(lambda data: b"subject 1, session 1\n" * 100), CNT_FILE, "."),
    row("cnt: no channel CZ", CNT, files.cnt_names(files.without("CZ")), CNT_FILE, "no channel Cz"),
    row(
        "cnt: 62 channels without names",
        CNT,
        files.cnt_names(tuple(f"E{n}" for n in range(62))),
        CNT_FILE,
        "no channel Fp1",
    ),
    row(
        "cnt: subject 17",
        CNT,
        lambda root, stock: seed_v_world.recording_path(root, 17, 1).touch(),
        "17_1_20180718.cnt",
        "not the name",
    ),
    row("npz: no archive", NPZ, files.npz_bytes(lambda data: b"data, label"), NPZ_FILE, "BadZipFile"),
    row("npz: truncated", NPZ, files.npz_bytes(lambda data: data[: len(data) // 2]), NPZ_FILE, "BadZipFile"),
    row("npz: objects of numpy", NPZ, files.npz_objects, NPZ_FILE, "object|array of shape"),
    row("npz: unpacks to 1 GiB", NPZ, files.npz_bomb, NPZ_FILE, "more than"),
    row("npz: 44 clips", NPZ, files.npz(data=files.features_of(range(44))), NPZ_FILE, r"keys missing: \[44\]"),
    row("npz: other labels", NPZ, files.npz(labels=files.labels_turned()), NPZ_FILE, "labelled"),
    row("npz: a list", NPZ, files.npz(data=[1, 2, 3]), NPZ_FILE, "a list|one list"),
)
