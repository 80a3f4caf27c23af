#!/usr/bin/env bash
# release.sh UV IMAGE...: build wheel and sdist into dist/, and write their hashes and the ids of the images to dist/SHA256SUMS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=$1
shift
if [ -n "$(git status --porcelain)" ]; then
  echo "the tree holds changes that are not committed: a release is built from a commit" >&2
  exit 1
fi
rm -rf dist build/lib
# The time of the commit goes into the archives, so that the same commit gives the same bytes.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
"$uv" build --quiet --offline --no-build-isolation --sdist --out-dir dist
"$uv" build --quiet --offline --no-build-isolation --wheel --out-dir dist dist/*.tar.gz # from the sdist: proof that it is complete
cd dist
sha256sum -- *.tar.gz *.whl > SHA256SUMS
for image in "$@"; do
  docker image inspect --format "{{slice .Id 7}}  $image" "$image" >> SHA256SUMS
done
cat SHA256SUMS
