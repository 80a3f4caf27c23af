#!/usr/bin/env bash
# release.sh BIN IMAGE...: build sdist and wheel into dist/ with the uv and the Python in BIN, and write their sha256 and the ids
# of the images, which exist, to dist/SHA256SUMS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=$1
shift
if [ -n "$(git status --porcelain)" ]; then
  echo "the tree holds changes that are not committed: a release is built from a commit" >&2
  exit 1
fi
rm -rf dist src/*.egg-info
mkdir -p build
# The time of the commit goes into the archives, so that the same commit gives the same bytes.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
# The wheel is built from the sdist: proof that the sdist is complete.
"$bin/uv" build --quiet --offline --no-build-isolation --python "$bin/python" --out-dir dist
# setuptools leaves the times of the files in the sdist, and thus in its hash.
sdist=$(basename dist/*.tar.gz)
tar --extract --gzip --file "dist/$sdist" --directory build
tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --directory build "${sdist%.tar.gz}" \
  | gzip --no-name --best > "dist/$sdist"
rm -r "build/${sdist%.tar.gz}"
cd dist
sha256sum -- *.tar.gz *.whl > SHA256SUMS
for image in "$@"; do
  docker image inspect --format "{{slice .Id 7}}  $image" "$image" >> SHA256SUMS
done
cat SHA256SUMS
