"""The file extensions of recordings, and the formats that FFmpeg may read."""

from __future__ import annotations

import posixpath

AUDIO_SUFFIXES = frozenset(
    {
        *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
        *(".flac", ".wv", ".ape", ".tta"),
        *(".mp3", ".mp2", ".mpga", ".aac", ".ac3", ".eac3", ".amr", ".wma", ".asf"),
        *(".ogg", ".oga", ".opus", ".spx"),
        *(".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".3g2", ".mka", ".mkv", ".webm"),
    }
)

# limited, because FFmpeg also reads playlists and image lists, which may open other files or URLs
FFMPEG_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,caf,eac3,flac,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpegts,ogg,tta,w64,wav,wv"
)


def suffix_of(name: str) -> str:
    """The extension of a file name in lower case, with its dot; empty if there is none."""
    return posixpath.splitext(name)[1].lower()
