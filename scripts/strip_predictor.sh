#!/bin/sh
# strip_predictor.sh VENV: remove what no server loads. A file that a new version of a package no longer has fails the build.
set -eu
packages=$(echo "$1"/lib/python3.*/site-packages)
cd "$packages"

# Tests, C headers, and sources to build extensions with.
find . -depth -type d \( -name tests -o -name test \) -exec rm -r {} +
rm -r pyarrow/include pyarrow/src
find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.h' \) -delete
# Arrow Flight, and Arrow's own client of S3: the log's files are put into the store by obstore.
rm pyarrow/libarrow_flight.so.* pyarrow/libarrow_python_flight.so* pyarrow/_flight.*.so pyarrow/libarrow_s3.so.* pyarrow/_s3fs.*.so
# ONNX Runtime for C programs (Python has its own copy), and its tools for converting and quantizing models.
rm -r onnxruntime/capi/libonnxruntime.so.* onnxruntime/transformers onnxruntime/quantization onnxruntime/tools onnxruntime/datasets
