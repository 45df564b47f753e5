"""A corpus of files that are not as published: how each is made, what reads it, and what the message must say."""

from tests.valence import malformed_files as files
from tests.valence import malformed_pickles as pickles
from tests.valence import seed_v_recordings as seed_v_world
from tests.valence.malformed_readers import (
    DATA,
    DE,
    DESCRIBE,
    INFO,
    NPZ,
    NPZ_FILE,
    PKL,
    RAW,
    TABLE,
    WINDOWS,
    Malformed,
    row,
    standard,
)
from tests.valence.malformed_recordings import RECORDINGS

MALFORMED: tuple[Malformed, ...] = (
    *RECORDINGS,
    *(
        row(f"pickle: {name}", DE, lambda root, stock, data=data: files.add_de(root, data()), PKL, told)
        for name, (data, told) in pickles.DAMAGED.items()
    ),
    *(
        row(f"pickle: {name}", DE, lambda root, stock, data=data: files.add_de(root, data), PKL, ".")
        for name, data in pickles.GIANT.items()
    ),
    # signals
    row("V for µV", WINDOWS, lambda root, stock: files.add_windows(root, files.signals(12e-6)), PKL, "1.2e-05"),
    row("counts for µV", WINDOWS, lambda root, stock: files.add_windows(root, files.signals(12_000)), PKL, "1.2e\\+04"),
    row("a flat channel", WINDOWS, lambda root, stock: files.add_windows(root, files.flat()), PKL, "flat .*FC1"),
    row(
        "recordings of 29 s",
        WINDOWS,
        lambda root, stock: files.add_windows(root, files.signals()[..., :7250]),
        PKL,
        "7250",
    ),
    # folders and names
    row("empty folder", DE, lambda root, stock: None, "", "the folder holds nothing"),
    row("no folder", DE, lambda root, stock: root.rmdir(), "", "no such folder"),
    row("file for a folder", DE, lambda root, stock: (root.rmdir(), root.write_text("")), "", "not a folder"),
    row(
        "folder that is a link to itself",
        DE,
        lambda root, stock: (root.rmdir(), files.loop(root)),
        "",
        "loop|no such folder",
    ),
    row(
        "file that is a link to itself",
        DE,
        lambda root, stock: files.loop(files.de_path(root)),
        PKL,
        "not a file",
    ),
    row(
        "link to nowhere",
        DE,
        lambda root, stock: files.de_path(root).symlink_to("gone"),
        PKL,
        "not a file",
    ),
    row(
        "folder for a file",
        DE,
        lambda root, stock: files.de_path(root).mkdir(),
        PKL,
        "not a file",
    ),
    row(
        "file that cannot be read",
        DE,
        lambda root, stock: files.de_path(root).symlink_to("/proc/self/mem"),
        PKL,
        "cannot be read",
    ),
    row(
        "pipe for a file",
        DE,
        lambda root, stock: files.pipe(files.de_path(root)),
        PKL,
        "not a file",
        most_seconds=2,
    ),
    row(
        "a subject twice",
        DE,
        lambda root, stock: (files.add_de(root), files.add_de(root, name=PKL)),
        "EEG_Features/DE",
        "sub000 appears twice, as sub000.pkl and sub000.pkl.pkl",
    ),
    row("subject 123", DE, lambda root, stock: files.add_de(root, name="sub123.pkl"), "sub123.pkl", "sub000 to sub122"),
    row(
        "subject without zeros", DE, lambda root, stock: files.add_de(root, name="sub7.pkl"), "sub7.pkl", "not the name"
    ),
    row(
        "122 of the subjects of the standard split",
        standard,
        lambda root, stock: files.add_de(root),
        "",
        "122 subjects are missing",
    ),
    # tables
    row(
        "table in UTF-16",
        DE,
        files.with_info("sub,Cohort \r\nsub000,1\r\n".encode("utf-16")),
        INFO,
        "UnicodeDecodeError",
    ),
    row("table in Latin-1", DE, files.with_info(TABLE + b"sub000,\xe9,21,1,1000,V\r\n"), INFO, "UnicodeDecodeError"),
    row(
        "table with a subject twice",
        DE,
        files.with_info(TABLE + 2 * b"sub000,F,21,1,1000,V\r\n"),
        INFO,
        "appears twice",
    ),
    row("table with another cohort", DE, files.with_info(TABLE + b"sub000,F,21,2,1000,V\r\n"), INFO, "of cohort 2"),
    row("table without columns", DE, files.with_info(b"subject;cohort\r\nsub000;1\r\n"), INFO, "KeyError"),
    row("table with a rate that is no number", DE, files.with_info(TABLE + b"sub000,F,21,1,fast,V\r\n"), INFO, "fast"),
    row("table with an empty line", DE, files.with_info(TABLE + b",,,,,\r\n"), INFO, "."),
    row(
        "table of zeros",
        DE,
        files.with_info(bytes(500)),
        INFO,
        "no rows",
    ),
    row("raw: unit not known", RAW, files.raw_info(TABLE + b"sub004,F,21,1,250,furlong\r\n"), INFO, "furlong"),
    row("raw: another rate", RAW, files.raw_info(TABLE + b"sub004,F,21,1,1000,V\r\n"), DATA, "another subject"),
    row(
        "raw: rate no number",
        RAW,
        files.raw_info(TABLE + b"sub004,F,21,1,fast,V\r\n"),
        INFO,
        "fast",
    ),
    row(
        "raw: table in UTF-16",
        RAW,
        files.raw_info(TABLE.decode().encode("utf-16")),
        INFO,
        "UnicodeDecodeError",
    ),
    row("workbook that is no archive", DESCRIBE, files.workbook(b"not a zip"), "Stimuli_info.xlsx", "BadZipFile"),
    row(
        "workbook that ends early",
        DESCRIBE,
        files.workbook(b"PK\x03\x04" + bytes(50)),
        "Stimuli_info.xlsx",
        "BadZipFile",
    ),
)

HOSTILE: tuple[Malformed, ...] = (
    *(
        row(
            f"pickle: {name}",
            DE,
            lambda root, stock, data=data: files.add_de(root, data(files.mark(root))),
            PKL,
            "could run code|'O8'",
        )
        for name, data in pickles.HOSTILE.items()
    ),
    *(
        row(
            f"npz, entry {part}",
            NPZ,
            lambda root, stock, part=part: seed_v_world.write_features(
                root, 1, **{part: pickles.touch(files.mark(root))}
            ),
            NPZ_FILE,
            "could run code",
        )
        for part in ("data", "labels")
    ),
)
"""files that would create `files.mark(root)`, were they opened with pickle.load"""
