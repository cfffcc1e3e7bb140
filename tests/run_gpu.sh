#!/usr/bin/env bash
# Everything that needs a GPU, in one call: build the extension for the card at hand, all GPU tests, compute-sanitizer on
# small cases where it is installed, and the benchmark.
#
#   tests/run_gpu.sh                     # with .venv, made by `make setup`
#   PYTHON=python3 tests/run_gpu.sh      # with another interpreter that has the requirements
#   PARTS="tests bench" tests/run_gpu.sh # some parts of: build tests memcheck racecheck bench curves pictures
#   PIP_FLAGS=--no-build-isolation ...   # where there is no network: needs setuptools 77 or newer, and ninja
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
PARTS=${PARTS:-build tests memcheck racecheck bench}
EXTENSION=submodules/diff-gaussian-rasterization
BUILT=${BUILT:-.build/gpu}
DATA=${DATA:-data/bench}
export PYTHONPATH="$PWD/$BUILT:$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
failed=""

part() { # part NAME COMMAND...: run it if it was asked for, and go on if it fails
    case " $PARTS " in *" $1 "*) ;; *) return 0 ;; esac
    echo "== $1"
    local name=$1 start=$SECONDS
    shift
    "$@" || failed="$failed $name"
    echo "== $name: $((SECONDS - start)) s"
}

# What the sanitizers leave out: large cases, which take them minutes and run no other kernels; a test that watches the timing of
# streams cannot pass under them.
LARGE="crowded or large or busy or fifty or many_steps or resumed or 700 or 16- or 17- or twice or stops or divergence or does_not_wait"
# What racecheck leaves out beside these: it loses track of kernels where a graph was destroyed, and takes some 20 s for a case, so
# cases that only arrange the same kernels in another way are not for it.
REARRANGED="grow or ring or alternate or stream_gives or does_not_compute or last_batch or waits_for_the_host or report_show"

sanitize() { # sanitize LEFT_OUT TOOL [OPTION...]: the other cases
    command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer is not installed: skipped"; return 0; }
    local left_out=$1
    shift
    compute-sanitizer --tool "$@" --error-exitcode 9 --print-limit 20 "$PYTHON" -m pytest -q -m gpu -x --durations=5 \
        tests/extension/test_cuda_backend.py tests/extension/test_color_sums.py tests/training/test_fused.py \
        tests/training/test_fused_refinement.py tests/test_inference.py -k "not ($left_out)"
}

build() {
    rm -rf "$BUILT"
    GAUSSIAN_RASTERIZATION_CUDA=1 "$PYTHON" -m pip install --quiet --no-deps ${PIP_FLAGS:-} --target "$BUILT" "./$EXTENSION"
}

part build build
part tests "$PYTHON" -m pytest -m gpu
part memcheck sanitize "$LARGE" memcheck
# Of our own kernels alone: a race in a library's is not ours to mend, and watching those as well takes many minutes.
part racecheck sanitize "$LARGE or $REARRANGED" racecheck --kernel-name kns=gaussian_rasterization
part bench "$PYTHON" -m tests.bench.train --workload standard --way fast --way plain --repeats 50 --warm_up 10 --copies 50 --data_dir "$DATA"
part curves "$PYTHON" -m tests.bench.train --curves --workload standard --repeats 10 --data_dir "$DATA"
part pictures "$PYTHON" -m tests.bench.pictures --device cuda --data_dir "$DATA/pictures"

[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
