# Two commands for a fresh Debian 12: `make demo` and `make test`. Everything else is CMake.
SHELL := /bin/bash
BUILD ?= build
JOBS ?= $(shell nproc)
PACKAGES := gcc g++ cmake ninja-build pkg-config libsndfile1-dev libjansson-dev libutf8proc-dev \
            libxxhash-dev libyaml-dev libcmocka-dev libopenmpi-dev openmpi-bin
# libdnnl-dev, when it is there, gives `sa2 bench` another product to compare with.

.PHONY: all demo nano test check-long tidy setup build sanitize gpu-kit
all: build

# Installs what is missing; asks for nothing when all is there.
setup:
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f='$${Status}\n' $$p 2>/dev/null | grep -q '^install ok' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    run=$$([ $$(id -u) = 0 ] || echo sudo); \
	    echo "installing:" $$missing; \
	    $$run apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive $$run apt-get install -y -q --no-install-recommends $$missing >/dev/null; \
	fi

build: setup
	@cmake -S . -B $(BUILD) -G Ninja -DSA2_CUDA_SIM=OFF >/dev/null
	@cmake --build $(BUILD) -j $(JOBS)

demo: build
	@tools/demo.sh $(BUILD)/sa2 $(BUILD)/demo

# Trains the small model of tools/nano from nothing, or goes on where it was cut; hours.
nano:
	@tools/nano/nano.sh

# The suite under address and undefined-behaviour checks, then the parts with threads under the thread checker.
test: setup
	@cmake -S . -B build-test -G Ninja -DSA2_SANITIZE=address,undefined >/dev/null
	@cmake --build build-test -j $(JOBS)
	@cmake -S . -B build-tsan -G Ninja -DSA2_SANITIZE=thread >/dev/null
	@cmake --build build-tsan -j $(JOBS) --target thread_tests
	@ctest --test-dir build-tsan --output-on-failure -L threads
	@ctest --test-dir build-test --output-on-failure

# Fuzzing, 60 s a target (needs clang), conversions that are killed, and what a recogniser makes of nano (needs espeak-ng).
check-long: build
	@tests/check_long.sh $(BUILD)

# All that a machine with a Hopper GPU needs to check and measure this (needs nvcc): unpack it there, run gpu_check.sh.
gpu-kit: setup
	@cmake -S . -B build-gpu -G Ninja -DSA2_CUDA=ON -DSA2_CUDA_SIM=OFF -DSA2_MPI=OFF -DCMAKE_CUDA_ARCHITECTURES=90a \
	    -DBUILD_SHARED_LIBS=ON -DDNNL_LIBRARY=DNNL_LIBRARY-NOTFOUND >/dev/null
	@cmake --build build-gpu -j $(JOBS)
	@tools/gpu_kit.sh build-gpu

# What .clang-tidy asks for, over all but the tests (needs clang-tidy); minutes.
tidy: setup
	@cmake -S . -B build-tidy -G Ninja -DCMAKE_C_COMPILER=clang >/dev/null
	@git ls-files '*.c' ':!tests' | xargs -P $(JOBS) -n 1 clang-tidy -p build-tidy --quiet
