"""Which files are taken for recordings by their name, and which formats FFmpeg may read. The one list of both."""

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

# FFmpeg also reads playlists, subtitles and image lists, some of which open other files or URLs
FFMPEG_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,caf,eac3,flac,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpegts,ogg,tta,w64,wav,wv"
)


def suffix_of(name: str) -> str:
    """The ending of a file's name, in lower case, with its dot; empty where there is none."""
    return posixpath.splitext(name)[1].lower()
