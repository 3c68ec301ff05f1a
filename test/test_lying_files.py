# SPDX-License-Identifier: Apache-2.0
"""Files that claim to be enormous, lead elsewhere or bring code along: no memory, no escape, nothing is run."""

import ast
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from capture_records import drive, in_order
from ros_bags import messages_of, write_bag
from test_hostile_files import ROOT, mended, read_bag, read_keyframes, sound_map, use
from test_keyframe_store import keyframe

from ccl_lgs_ros.errors import BagError, MapError
from ccl_lgs_ros.storage.checkpoint import FileCheckpoint
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.segment_store import SegmentStore
from ccl_lgs_ros.storage.snapshot import load


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map that tests damage in a copy, or damage and mend."""
    return sound_map(tmp_path_factory.mktemp("sound") / "map")


def png_header(side: int) -> bytes:
    """The beginning of a PNG that claims to be a square so large."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def jpeg_header(side: int) -> bytes:
    """The beginning of a JPEG that claims to be a square so large."""
    return b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, side, side, 3) + b"\x01\x11\x00" * 3


def safetensors(header: bytes, told: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if told is None else told) + header


def ply(form: str, line: str) -> bytes:
    names = [
        "x",
        "y",
        "z",
        "f_dc_0",
        "f_dc_1",
        "f_dc_2",
        "opacity",
        "scale_0",
        "scale_1",
        "scale_2",
        "rot_0",
        "rot_1",
        "rot_2",
        "rot_3",
    ]
    properties = "".join(f"property float {name}\n" for name in names)
    return f"ply\nformat {form} 1.0\n{line}\n{properties}end_header\n".encode()


HUGE = b'{"sp.track":{"dtype":"I32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
LIES = {  # file of a map -> contents that claim far more than they hold
    "snapshots/000001/splat.ply": [
        *(ply(form, "element vertex 1000000000000") for form in ("binary_little_endian", "ascii", "binary_big_endian")),
        ply("ascii", "element vertex 999999999999999999999999"),
        b"ply\nformat binary_little_endian 1.0\n" + b"comment x\n" * 100_000,
    ],
    "snapshots/000001/semantics.safetensors": [safetensors(HUGE), safetensors(b"{}", 2**62), safetensors(b"[" * 10**6)],
    "segments/{}/000000.sp.safetensors": [safetensors(HUGE), safetensors(b"{}", 2**62)],
    "segments/{}/000000.sp.png": [png_header(60_000)],
    "checkpoint": [safetensors(HUGE), safetensors(b"{}", 2**62)],
    "keyframes/images/000000.jpg": [jpeg_header(60_000), png_header(60_000), jpeg_header(8192) + bytes(100)],
    "keyframes/depth/000000.png": [png_header(60_000)],
    "map.json": [b"[" * 60_000, b" " * 10**8, b"9" * 10**6],
    "snapshots/000001/snapshot.json": [b"[" * 10**6, b'{"files":' * 10**5, b" " * 10**8],
    "keyframes/keyframes.jsonl": [b"[" * 10**8 + b"\n{}\n", b" " * 10**8 + b"\n{}\n", b"{}\n" * 3],
}
READER = """
import json, resource, sys, torch
from test_lying_files import read_everything
from pathlib import Path
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20),) * 2)
for line in sys.stdin:
    print(json.dumps(read_everything(Path(json.loads(line)))), flush=True)
"""


def read_everything(path: Path) -> str:
    """Read a map whole; what is said where that is refused."""
    try:
        read_keyframes(path)
        use(load(MapDirectory.open(path)))
        FileCheckpoint(path / "checkpoint", "work").load()
        SegmentStore(path / "segments", identity="a").load(0)
    except MapError as error:
        return str(error)
    return ""


def test_files_that_lie_about_their_size_take_no_memory(sound: Path) -> None:
    folder = next((sound / "segments").iterdir()).name
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "test")])}
    reader = subprocess.Popen(
        [sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert reader.stdin is not None and reader.stdout is not None
    try:
        for name, contents in LIES.items():
            file = sound / name.format(folder)
            mends = [mended(path) for path in (file, sound / "snapshots/000001/snapshot.json")]
            for content in contents:
                file.write_bytes(content)
                if file.name.startswith("s") and file.suffix != ".json":
                    fit_description(sound / "snapshots/000001", file.name)
                reader.stdin.write(json.dumps(str(sound)) + "\n")
                reader.stdin.flush()
                said = reader.stdout.readline()
                assert said, f"the reader died of {name}: {content[:60]!r}"
                is_cache = name.startswith(("segments", "checkpoint"))
                assert is_cache == (json.loads(said) == ""), (name, content[:60], said[:300])
            for mend in mends:
                mend()
    finally:
        reader.kill()
        reader.wait()


def fit_description(folder: Path, name: str) -> None:
    """Describe a file of a snapshot as it now is."""
    description, content = json.loads((folder / "snapshot.json").read_text()), (folder / name).read_bytes()
    description["files"][name] = {"size": len(content), "crc32": zlib.crc32(content)}
    (folder / "snapshot.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/hostname", "images/../../../secret", "images/link.jpg", "images/pipe", "images"]
)
def test_keyframes_lead_nowhere_else(sound: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "map"
    shutil.copytree(sound, path)
    shutil.copy(sound / "keyframes/images/000000.jpg", tmp_path / "secret")
    (path / "keyframes/images/link.jpg").symlink_to(tmp_path / "secret")
    os.mkfifo(path / "keyframes/images/pipe")
    journal = path / "keyframes/keyframes.jsonl"
    journal.write_text(journal.read_text().replace("images/000000.jpg", name))
    with pytest.raises(MapError, match="keyframes"):
        KeyframeStore(MapDirectory.open(path))[0]


@pytest.mark.parametrize("name", ["../../../secret", "/etc/hostname", "link.ply", ".."])
def test_snapshots_lead_nowhere_else(sound: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "map"
    shutil.copytree(sound, path)
    (tmp_path / "secret").write_text("x")
    (path / "snapshots/000001/link.ply").symlink_to(tmp_path / "secret")
    file = path / "snapshots/000001/snapshot.json"
    description = json.loads(file.read_text())
    description["files"][name] = {"size": 1, "crc32": zlib.crc32(b"x")}
    file.write_text(json.dumps(description))
    with pytest.raises(MapError, match="not its own"):
        load(MapDirectory.open(path))


@pytest.mark.parametrize("name", ["keyframes/keyframes.jsonl", "keyframes/images/000003.jpg", ".keyframes.lock"])
def test_what_a_link_leads_to_is_not_written(sound: Path, tmp_path: Path, name: str) -> None:
    path, target = tmp_path / "map", tmp_path / "precious"
    shutil.copytree(sound, path)
    target.write_text("mine")
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(target)
    with pytest.raises(MapError), KeyframeStore(MapDirectory.open(path), writable=True) as store:
        store.append(keyframe(100))
    assert target.read_text() == "mine"


def test_a_recording_may_neither_compute_nor_wait(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "drive", messages_of(in_order(drive(2))), "sqlite3")
    (file,) = path.glob("*.db3")
    with closing(sqlite3.connect(file)) as database:
        database.execute("ALTER TABLE messages RENAME TO kept")
        forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id, 1, 1, x'' FROM n"
        database.execute(f"CREATE VIEW messages(id, topic_id, timestamp, data) AS {forever}")
        database.commit()
    with pytest.raises(BagError, match="computes 'messages'"):
        read_bag(path)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(BagError, match="no plain file"):
        read_bag(path)


def test_metadata_may_name_no_file_elsewhere(tmp_path: Path) -> None:
    messages = messages_of(in_order(drive(2)))
    other = write_bag(tmp_path / "other", messages, "sqlite3")
    path = write_bag(tmp_path / "drive", messages, "sqlite3")
    (file,) = path.glob("*.db3")
    metadata = path / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(file.name, f"../other/{next(other.glob('*.db3')).name}"))
    with pytest.raises(BagError):
        read_bag(path)


def test_nothing_is_unpickled_and_no_file_is_code() -> None:
    """Only the node and its worker pickle, through a socket pair that the worker inherits and nobody can connect to."""
    for path in sorted((ROOT / "ccl_lgs_ros").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
                unsafe = {"marshal", "shelve", "dill", "joblib", "cloudpickle", "jsonpickle"}
                assert not unsafe & {name.split(".")[0] for name in names}, where
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("multiprocessing."):
                assert "Listener" not in ast.unparse(node) and "Client" not in ast.unparse(node), where
            if isinstance(node, ast.Call):
                assert_safe(node, where)


def assert_safe(call: ast.Call, where: str) -> None:
    name, options = ast.unparse(call.func), {k.arg: ast.unparse(k.value) for k in call.keywords}
    assert name not in ("eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load", "yaml.full_load"), where
    assert not name.startswith("pickle."), where
    assert name != "torch.load" or options.get("weights_only") == "True", where
    assert name not in ("np.load", "numpy.load") or options.get("allow_pickle") == "False", where
    assert options.get("allow_pickle") in (None, "False") and options.get("shell") in (None, "False"), where
