#!/usr/bin/env bash
# The openly licensed music that the wild benchmarks are made of, out of Debian packages: music.sh DIR
# Leaves DIR/PACKAGE/*.ogg (names of sub-folders joined) and DIR/PACKAGE/copyright, which names authors and licences.
# Needs apt-get with a fresh list of packages, and dpkg-deb. A package that DIR has is not fetched again.
set -euo pipefail
target=$(mkdir -p "${1:?usage: music.sh DIR}" && cd "$1" && pwd)
list=$(cd "$(dirname "$0")" && pwd)/music.csv
min_bytes=400000  # shorter files are effects, not music

fetch() {  # PACKAGE FOLDER: its music, from FOLDER inside the package
  local package=$1 folder=$2 work
  work=$(mktemp -d "$target/.fetch.XXXXXX")
  trap 'rm -rf "$work"' RETURN
  (cd "$work" && apt-get download -qq "$package")
  dpkg-deb --extract "$work"/*.deb "$work/files"
  mkdir "$work/music"
  cp "$work/files/usr/share/doc/$package/copyright" "$work/music/"
  find "$work/files/$folder" -type f -size +"$min_bytes"c \( -name '*.ogg' -o -name '*.mp3' -o -name '*.flac' -o -name '*.opus' \) \
    -not -ipath '*/sfx/*' -not -ipath '*/sounds/*' -not -ipath '*/soundfx/*' -printf '%P\0' |
    while IFS= read -r -d '' file; do cp "$work/files/$folder/$file" "$work/music/${file//\//_}"; done
  mv "$work/music" "$target/$package"
  echo "$package: $(find "$target/$package" -type f ! -name copyright | wc -l) tracks"
}

tail -n +2 "$list" | while IFS=, read -r package _ folder; do
  [ -d "$target/$package" ] || fetch "$package" "$folder"
done
