#!/usr/bin/env bash
# The openly licensed music that the wild benchmarks are made of, out of Debian packages: music.sh DIR
# Leaves the recordings of a package under DIR/PACKAGE, in its own folders, by which benchmarks name and group them, and
# DIR/PACKAGE/copyright, which names authors and licences. Needs apt-get with a fresh list of packages, and dpkg-deb. A package
# that DIR has is not fetched again.
set -euo pipefail
target=$(mkdir -p "${1:?usage: music.sh DIR}" && cd "$1" && pwd)
list=$(cd "$(dirname "$0")" && pwd)/music.csv

fetch() {  # PACKAGE: its recordings
  local package=$1 work
  work=$(mktemp -d "$target/.fetch.XXXXXX")
  trap 'rm -rf "$work"' RETURN
  (cd "$work" && apt-get download -qq "$package")
  dpkg-deb --extract "$work"/*.deb "$work/files"
  mkdir "$work/music"
  cp "$work/files/usr/share/doc/$package/copyright" "$work/music/"
  # most files below 400 KiB are effects, not music
  (cd "$work/files" && find . -type f -size +399k \( -name '*.ogg' -o -name '*.mp3' -o -name '*.flac' -o -name '*.opus' \) \
    -exec cp --parents --target-directory "$work/music" {} +)
  mv "$work/music" "$target/$package"
  echo "$package: $(find "$target/$package" -type f ! -name copyright | wc -l) tracks"
}

tail -n +2 "$list" | while IFS=, read -r package _; do
  [ -d "$target/$package" ] || fetch "$package"
done
