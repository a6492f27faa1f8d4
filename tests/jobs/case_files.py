"""Files that similar tools handled wrongly: equivalents made here, and a copy of ../shared/cases."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np

from tests.conftest import write_audio
from tests.pipelines.catalogues import melody

RATE_HZ = 44_100
ROOT = Path(__file__).parents[2]
SHARED = next((place for above in ROOT.parents if (place := above / "shared/cases").is_dir()), None)
PICTURE = b"ID3\x04\0\0\0\0\x20\0" + bytes(range(256)) * 16
APE_PICTURE = b"APETAGEX\xd0\x07\0\0" + (4032).to_bytes(4, "little") + b"\x01\0\0\0\0\0\0\xa0" + bytes(8)
APE_PICTURE += b"\xff\xfb\x90\x44" * 1000 + APE_PICTURE[:20] + b"\0\0\0\x80" + bytes(8)
MANIFESTS = {
    "file-uri.csv": "uri,title\nfile:///PATH/TO/manifest/song%201.flac,percent-encoded\n",
    "years.csv": "uri,title,year\nsong 1.flac,A,1994-05-02\nsong 2.flac,B,1994?\nsong 3.flac,C,c. 1970\n",
    "newline-title.csv": 'uri,title\nsong 1.flac,"two\nlines"\n',
    "latin1.csv": "uri,title\nsong 1.flac,Café del Mar\n",
    "open-quote.csv": 'uri,title\nsong 1.flac,"Say hello\nsong 2.flac,B\nsong 3.flac,C\n',
    "long-field.csv": f'uri,title\nsong 1.flac,"{"x" * 140_000}"\n',
}


def music(seconds: float, seed: int, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Float32 [n, 1]. `melody` lasts equally long at any sample rate, at another pitch."""
    return np.repeat(melody(seconds, seed), 3)[: round(seconds * rate_hz), None]


def mp3(path: Path, seconds: float, seed: int, rate_hz: int = RATE_HZ, xing: bool = True) -> bytes:
    """A CBR mp3, with or without the frame that states its length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp3", options={} if xing else {"write_xing": "0"}) as output:
        stream = output.add_stream("libmp3lame", rate=rate_hz, layout="mono")
        wave = np.resize(music(seconds, seed), (round(seconds * rate_hz), 1))
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.T), "fltp", "mono")
        frame.sample_rate = rate_hz
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path.read_bytes()


def make(folder: Path) -> Path:
    """Files like those of ../shared/cases, made from other music."""
    (folder / "parts").mkdir(parents=True)
    for name in ("audio", "quiet", "manifest"):
        (folder / name).mkdir()
    ogg = [write_audio(folder / f"parts/{n}.ogg", music(s, n), RATE_HZ).read_bytes() for n, s in ((1, 3.0), (2, 12.0))]
    whole = [mp3(folder / f"parts/{n}.mp3", s, n) for n, s in ((1, 3.0), (2, 12.0))]
    bare = mp3(folder / "parts/bare.mp3", 12.0, 3, xing=False)
    changing = [mp3(folder / f"parts/{rate}.mp3", 6.0, 4, rate, xing=False) for rate in (44_100, 48_000)]
    shutil.rmtree(folder / "parts")
    contents = {"chained.ogg": ogg, "concat.mp3": whole, "art.mp3": [PICTURE, bare], "ape.mp3": [bare, APE_PICTURE]}
    for name, parts in (contents | {"rate.mp3": changing}).items():
        (folder / "audio" / name).write_bytes(b"".join(parts))
    wide = music(12.0, 5)
    write_audio(folder / "audio/antiphase.flac", np.concatenate([wide, -wide], 1), RATE_HZ)
    loud = music(12.0, 6)
    loud *= np.float32(10 ** (-27 / 20) / np.sqrt(np.mean(loud**2)))
    write_audio(folder / "quiet/same-not-quiet.flac", loud, RATE_HZ)
    write_audio(folder / "quiet/quiet.flac", loud * np.float32(10 ** (-28 / 20)), RATE_HZ)
    for number in (1, 2, 3):
        write_audio(folder / f"manifest/song {number}.flac", music(3.0, 6 + number), RATE_HZ)
    for name, text in MANIFESTS.items():
        (folder / "manifest" / name).write_bytes(text.encode("latin-1" if name == "latin1.csv" else "utf-8"))
    return folder


def copied(folder: Path) -> Path | None:
    """A copy of ../shared/cases, if it exists."""
    if SHARED is None:
        return None
    for path in SHARED.rglob("*"):
        if path.is_file():
            place = folder / path.relative_to(SHARED)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return folder
