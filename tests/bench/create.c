/*
 * create [RUNS] [MIB] [CPUS] [PAUSE_MS]: how long it takes from nothing to the first instruction of
 * a machine with all devices.
 *
 * Measured from pv_machine_create to the return of pv_machine_start, and to the first byte that the
 * guest's first instructions print (which adds their emulation, an exit and the start of a thread).
 * Prints median, minimum and 99th percentile in microseconds, and the same for pv_machine_destroy.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/loop.h"
#include "tests/bench/figures.h"
#include "vmm/kvm.h"
#include "vmm/machine.h"

#define RUNS_DEFAULT 100
#define RUNS_MAX     10000

/* mov $0x3f8, %dx; out %al, %dx; 1: pause; jmp 1b */
static const uint8_t PAYLOAD[] = {0xba, 0xf8, 0x03, 0xee, 0xf3, 0x90, 0xeb, 0xfc};

struct run {
	struct pv_loop *loop;
	int64_t printed_ns; /* 0 = not yet; under the loop lock */
};

static void on_console(
    void *ctx, enum pv_machine_console console, const void *data, size_t len)
{
	struct run *run = ctx;
	if (run->printed_ns == 0)
		run->printed_ns = pv_clock_now();
	pv_loop_wake(run->loop);
}

struct figures {
	int64_t *created;
	int64_t *started;
	int64_t *printed;
	int64_t *destroyed;
};

static int measure(struct pv_kvm *kvm, struct pv_loop *loop, struct pv_machine_config *config,
    struct figures *figures, unsigned i, struct pv_err *err)
{
	struct run run = {.loop = loop};
	struct pv_machine *machine;
	config->events_ctx = &run;
	int64_t begin = pv_clock_now();
	int code = pv_machine_create(&machine, kvm, loop, config, err);
	if (code < 0)
		return code;
	figures->created[i] = pv_clock_now() - begin;
	code = pv_machine_start(machine, err);
	figures->started[i] = pv_clock_now() - begin;
	if (code == 0) {
		pv_loop_lock(loop);
		while (run.printed_ns == 0)
			pv_loop_wait(loop, PV_CLOCK_NEVER);
		pv_loop_unlock(loop);
		figures->printed[i] = run.printed_ns - begin;
	}
	begin = pv_clock_now();
	pv_machine_destroy(machine);
	figures->destroyed[i] = pv_clock_now() - begin;
	return code;
}

int main(int argc, char **argv)
{
	unsigned runs = argc > 1 ? (unsigned)atoi(argv[1]) : RUNS_DEFAULT;
	unsigned long mib = argc > 2 ? (unsigned long)atol(argv[2]) : 256;
	unsigned cpus = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
	int pause_ms = argc > 4 ? atoi(argv[4]) : 0;
	if (runs < 1 || runs > RUNS_MAX)
		runs = RUNS_DEFAULT;
	struct pv_err err = PV_ERR_INIT;
	struct pv_kvm kvm = {.fd = -1};
	struct pv_loop *loop = NULL;
	struct figures figures = {
	    .created = calloc(runs, sizeof(int64_t)),
	    .started = calloc(runs, sizeof(int64_t)),
	    .printed = calloc(runs, sizeof(int64_t)),
	    .destroyed = calloc(runs, sizeof(int64_t)),
	};
	const struct pv_machine_events events = {.console = on_console};
	struct pv_machine_config config = {
	    .memory_bytes = (uint64_t)mib << 20,
	    .cpus = cpus,
	    .vsock_cid = 3,
	    .payload = {PAYLOAD, sizeof(PAYLOAD)},
	    .payload_gpa = 0x8000,
	    .events = &events,
	};
	int code = -1;
	if (!figures.created || !figures.started || !figures.printed || !figures.destroyed)
		goto out;
	pv_fd_presize_table(4096);
	code = pv_kvm_open(&kvm, &err);
	if (code == 0)
		code = pv_loop_create(&loop, &err);
	if (code == 0)
		code = pv_loop_start(loop, &err);
	for (unsigned i = 0; i < runs && code == 0; i++) {
		code = measure(&kvm, loop, &config, &figures, i, &err);
		poll(NULL, 0, pause_ms);
	}
	if (code == 0) {
		printf("%u machines of %lu MiB and %u vCPU, all devices\n", runs, mib, cpus);
		figures_report("created", figures.created, runs);
		figures_report("started (threads in KVM_RUN next)", figures.started, runs);
		figures_report("first guest output", figures.printed, runs);
		figures_report("destroyed", figures.destroyed, runs);
	}
out:
	if (code < 0)
		fprintf(stderr, "bench/create: %s\n", err.text);
	pv_loop_destroy(loop);
	pv_kvm_close(&kvm);
	free(figures.created);
	free(figures.started);
	free(figures.printed);
	free(figures.destroyed);
	return code < 0;
}
