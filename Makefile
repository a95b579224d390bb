# Two commands on a fresh Debian 12 machine: `make demo` and `make check`. The rest are their steps.
.PHONY: demo check setup build guest format clean

JOBS ?= $(shell nproc)

demo: setup build guest
	tests/kvm-host/run-where-kvm-is build/provium examples/

check: setup build guest
	tests/check

setup:
	tests/setup/install

build:
	cmake --preset release >/dev/null
	cmake --build build -j $(JOBS)

# A guest of the distribution's own kernel package.
guest: build
	build/provium image build --deb "$$(tests/kvm-host/guest-kernel)" --name linux --out build/guest/linux

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build
