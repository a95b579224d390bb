/*
 * fork [RUNS] [MIB] [ALIVE]: how long it takes to go on from a frozen guest, with all devices, one
 * vCPU and a payload of a few instructions.
 *
 * Prints, in microseconds, median, minimum and 99th percentile of: freezing in place; a fork built
 * (ready to run), resumed, and until its first instruction has shown (each is destroyed before the
 * next is built, which takes over what the kernel had for one of those before); rewinds with 0 and
 * 2000 dirty pages; pause; what a snapshot of a fork costs, and a fork of that. Then ALIVE forks at
 * once, resumed: the time of all, and the memory each takes beyond the template; and a snapshot of
 * guest memory half full of data written to a file and opened.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "tests/bench/figures.h"
#include "vmm/kvm.h"
#include "vmm/machine.h"
#include "vmm/template.h"

#define RUNS_DEFAULT  200
#define RUNS_MAX      10000
#define MIB_DEFAULT   256
#define ALIVE_DEFAULT 200
#define ALIVE_MAX     4000
#define DIRTY_PAGES   2000
#define DIRTY_FROM    UINT64_C(0x1000000)
#define BASE_PATH     "/dev/shm/provium-bench-base.snap"
#define FILE_PATH     "/dev/shm/provium-bench-fork.snap"

/* mov $0x3f8, %dx; 1: out %al, %dx; jmp 1b */
static const uint8_t PAYLOAD[] = {0xba, 0xf8, 0x03, 0xee, 0xeb, 0xfd};

struct bench {
	struct pv_kvm kvm;
	struct pv_loop *loop;
	struct pv_machine_config config;
	unsigned runs;
	unsigned alive;
	int64_t *times[4];
	int64_t printed_ns; /* 0 = not yet; under the loop lock */
};

static void on_console(
    void *ctx, enum pv_machine_console console, const void *data, size_t len)
{
	struct bench *bench = ctx;
	if (bench->printed_ns != 0)
		return;
	bench->printed_ns = pv_clock_now();
	pv_loop_wake(bench->loop);
}

static const struct pv_machine_events EVENTS = {.console = on_console};

static void forget_output(struct bench *bench)
{
	pv_loop_lock(bench->loop);
	bench->printed_ns = 0;
	pv_loop_unlock(bench->loop);
}

static int64_t wait_output(struct bench *bench)
{
	pv_loop_lock(bench->loop);
	while (bench->printed_ns == 0)
		pv_loop_wait(bench->loop, PV_CLOCK_NEVER);
	int64_t at = bench->printed_ns;
	pv_loop_unlock(bench->loop);
	return at;
}

static int restore(
    struct bench *bench, struct pv_template *template, struct pv_machine **out, struct pv_err *err)
{
	const struct pv_machine_restore options = {.boot = &bench->config};
	return pv_machine_restore(out, &bench->kvm, bench->loop, template, &options, err);
}

/* A machine whose memory is there, run for a moment and paused. */
static int make_parent(struct bench *bench, struct pv_machine **out, struct pv_err *err)
{
	int code = pv_machine_create(out, &bench->kvm, bench->loop, &bench->config, err);
	if (code < 0)
		return code;
	const struct pv_gmem *mem = pv_machine_memory(*out);
	for (uint64_t at = DIRTY_FROM; at < bench->config.memory_bytes; at += 4096)
		pv_gmem_write(mem, at, &at, sizeof(at));
	forget_output(bench);
	code = pv_machine_start(*out, err);
	if (code < 0)
		return code;
	wait_output(bench);
	return pv_machine_pause(*out, err);
}

static int bench_freeze(struct bench *bench, struct pv_err *err)
{
	const unsigned runs = 20;
	int code = 0;
	for (unsigned i = 0; i < runs && code == 0; i++) {
		struct pv_machine *parent = NULL;
		struct pv_template *template = NULL;
		code = make_parent(bench, &parent, err);
		int64_t start = pv_clock_now();
		if (code == 0)
			code = pv_machine_freeze(parent, &template, err);
		bench->times[0][i] = pv_clock_now() - start;
		pv_machine_destroy(parent);
		pv_template_unref(template);
	}
	if (code == 0)
		figures_report("freeze, all memory in use", bench->times[0], runs);
	return code;
}

static int bench_fork(struct bench *bench, struct pv_template *template, struct pv_err *err)
{
	for (unsigned i = 0; i < bench->runs; i++) {
		struct pv_machine *child = NULL;
		forget_output(bench);
		int64_t start = pv_clock_now();
		int code = restore(bench, template, &child, err);
		int64_t built = pv_clock_now();
		if (code == 0)
			code = pv_machine_resume(child, err);
		int64_t resumed = pv_clock_now();
		if (code < 0) {
			pv_machine_destroy(child);
			return code;
		}
		bench->times[0][i] = built - start;
		bench->times[1][i] = resumed - start;
		bench->times[2][i] = wait_output(bench) - start;
		int64_t end = pv_clock_now();
		pv_machine_destroy(child);
		bench->times[3][i] = pv_clock_now() - end;
	}
	figures_report("fork, ready to run", bench->times[0], bench->runs);
	figures_report("fork, resumed", bench->times[1], bench->runs);
	figures_report("fork, first output", bench->times[2], bench->runs);
	figures_report("destroy a fork", bench->times[3], bench->runs);
	return 0;
}

static int bench_rewind(
    struct bench *bench, struct pv_machine *child, unsigned pages, struct pv_err *err)
{
	const struct pv_gmem *mem = pv_machine_memory(child);
	for (unsigned i = 0; i < bench->runs; i++) {
		for (uint64_t k = 0; k < pages; k++)
			pv_gmem_write(mem, DIRTY_FROM + 4096 * k, &i, sizeof(i));
		int64_t start = pv_clock_now();
		int code = pv_machine_rewind(child, err);
		int64_t rewound = pv_clock_now();
		forget_output(bench);
		if (code == 0)
			code = pv_machine_resume(child, err);
		if (code < 0)
			return code;
		int64_t output = wait_output(bench);
		int64_t pause = pv_clock_now();
		code = pv_machine_pause(child, err);
		if (code < 0)
			return code;
		bench->times[0][i] = rewound - start;
		bench->times[1][i] = output - start;
		bench->times[2][i] = pv_clock_now() - pause;
	}
	char what[64];
	snprintf(what, sizeof(what), "rewind, %u dirty pages", pages);
	figures_report(what, bench->times[0], bench->runs);
	snprintf(what, sizeof(what), "rewind to first output, %u pages", pages);
	figures_report(what, bench->times[1], bench->runs);
	if (pages == 0)
		figures_report("pause", bench->times[2], bench->runs);
	return 0;
}

static uint64_t scattered(uint64_t page)
{
	return 4096 * (page / 8 * 180 + page % 8);
}

/*
 * Freezing a fork after it changed 2000 pages, eight here and eight there, a fork of that, and the
 * file that holds what changed.
 */
static int bench_layer(struct bench *bench, struct pv_template *template, struct pv_err *err)
{
	const unsigned runs = 20;
	const struct pv_template_write options = {.layer_within = "/dev/shm"};
	int code = pv_template_write(template, BASE_PATH, NULL, err);
	for (unsigned i = 0; i < runs && code == 0; i++) {
		struct pv_machine *child = NULL, *grandchild = NULL;
		struct pv_template *layer = NULL;
		code = restore(bench, template, &child, err);
		for (uint64_t k = 0; k < DIRTY_PAGES && code == 0; k++)
			pv_gmem_write(
			    pv_machine_memory(child), DIRTY_FROM + scattered(k), &i, sizeof(i));
		int64_t start = pv_clock_now();
		if (code == 0)
			code = pv_machine_freeze(child, &layer, err);
		int64_t frozen = pv_clock_now();
		if (code == 0)
			code = restore(bench, layer, &grandchild, err);
		int64_t built = pv_clock_now();
		if (code == 0)
			code = pv_template_write(layer, FILE_PATH, &options, err);
		bench->times[0][i] = frozen - start;
		bench->times[1][i] = built - frozen;
		bench->times[2][i] = pv_clock_now() - built;
		pv_machine_destroy(grandchild);
		pv_machine_destroy(child);
		pv_template_unref(layer);
	}
	unlink(BASE_PATH);
	unlink(FILE_PATH);
	if (code < 0)
		return code;
	figures_report("freeze a fork, 2000 scattered pages", bench->times[0], runs);
	figures_report("fork of that fork", bench->times[1], runs);
	figures_report("write what changed to /dev/shm", bench->times[2], runs);
	return 0;
}

/* Memory that nobody uses, in KiB. */
static long long free_kib(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	long long value = 0;
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemFree: %lld", &value) == 1)
			break;
	}
	if (file)
		fclose(file);
	return value;
}

static int bench_alive(struct bench *bench, struct pv_template *template, struct pv_err *err)
{
	struct pv_machine **children = calloc(bench->alive, sizeof(struct pv_machine *));
	if (!children)
		return pv_err_nomem(err, "bench");
	int code = 0;
	long long before = free_kib();
	int64_t start = pv_clock_now();
	int64_t running = 0;
	for (unsigned i = 0; i < bench->alive && code == 0; i++) {
		int64_t at = pv_clock_now();
		code = restore(bench, template, &children[i], err);
		bench->times[0][i] = pv_clock_now() - at;
	}
	int64_t built = pv_clock_now();
	long long after = free_kib();
	for (unsigned i = 0; i < bench->alive && code == 0; i++) {
		int64_t at = pv_clock_now();
		code = pv_machine_resume(children[i], err);
		if (code == 0)
			code = pv_machine_pause(children[i], err);
		running += pv_clock_now() - at;
	}
	long long run = free_kib();
	figures_report("fork, ready to run, none destroyed", bench->times[0], bench->alive);
	if (code == 0)
		printf("%u forks alive: built in %.1f ms, %.0f KiB each; each resumed and paused "
		       "once: %.1f ms more, %.0f KiB each\n",
		    bench->alive, (double)(built - start) / 1e6,
		    (double)(before - after) / bench->alive, (double)running / 1e6,
		    (double)(before - run) / bench->alive);
	for (unsigned i = 0; i < bench->alive; i++)
		pv_machine_destroy(children[i]);
	free(children);
	return code;
}

static int bench_file(struct bench *bench, struct pv_template *template, struct pv_err *err)
{
	const unsigned runs = 20;
	for (unsigned i = 0; i < runs; i++) {
		struct pv_template *opened = NULL;
		struct pv_machine *child = NULL;
		int64_t start = pv_clock_now();
		int code = pv_template_write(template, FILE_PATH, NULL, err);
		int64_t written = pv_clock_now();
		if (code == 0)
			code = pv_template_open(&opened, FILE_PATH, false, err);
		int64_t open = pv_clock_now();
		if (code == 0)
			code = restore(bench, opened, &child, err);
		int64_t built = pv_clock_now();
		pv_machine_destroy(child);
		pv_template_unref(opened);
		int64_t verify = pv_clock_now();
		if (code == 0)
			code = pv_template_open(&opened, FILE_PATH, true, err);
		if (code < 0)
			return code;
		bench->times[3][i] = pv_clock_now() - verify;
		pv_template_unref(opened);
		bench->times[0][i] = written - start;
		bench->times[1][i] = open - written;
		bench->times[2][i] = built - written;
	}
	unlink(FILE_PATH);
	figures_report("write to /dev/shm", bench->times[0], runs);
	figures_report("open", bench->times[1], runs);
	figures_report("open and restore", bench->times[2], runs);
	figures_report("open, memory verified", bench->times[3], runs);
	return 0;
}

static int run(struct bench *bench, struct pv_err *err)
{
	struct pv_machine *parent = NULL;
	struct pv_machine *child = NULL;
	struct pv_template *template = NULL;
	int code = bench_freeze(bench, err);
	if (code == 0)
		code = make_parent(bench, &parent, err);
	if (code == 0)
		code = pv_machine_freeze(parent, &template, err);
	if (code == 0)
		code = bench_fork(bench, template, err);
	if (code == 0)
		code = restore(bench, template, &child, err);
	if (code == 0)
		code = bench_rewind(bench, child, 0, err);
	if (code == 0)
		code = bench_rewind(bench, child, DIRTY_PAGES, err);
	if (code == 0)
		code = bench_layer(bench, template, err);
	if (code == 0)
		code = bench_alive(bench, template, err);
	if (code == 0)
		code = bench_file(bench, template, err);
	pv_machine_destroy(child);
	pv_machine_destroy(parent);
	pv_template_unref(template);
	return code;
}

static unsigned argument(int argc, char **argv, int index, unsigned fallback, unsigned most)
{
	long value = argc > index ? atol(argv[index]) : 0;
	return value > 0 && value <= (long)most ? (unsigned)value : fallback;
}

int main(int argc, char **argv)
{
	struct bench bench = {0};
	struct pv_err err = PV_ERR_INIT;
	bench.runs = argument(argc, argv, 1, RUNS_DEFAULT, RUNS_MAX);
	bench.alive = argument(argc, argv, 3, ALIVE_DEFAULT, ALIVE_MAX);
	bench.config = (struct pv_machine_config){
	    .memory_bytes = (uint64_t)argument(argc, argv, 2, MIB_DEFAULT, 1u << 20) << 20,
	    .cpus = 1,
	    .vsock_cid = 3,
	    .payload = {PAYLOAD, sizeof(PAYLOAD)},
	    .payload_gpa = 0x8000,
	    .events = &EVENTS,
	    .events_ctx = &bench,
	};
	for (unsigned i = 0; i < 4; i++) {
		bench.times[i] = calloc(RUNS_MAX, sizeof(int64_t));
		if (!bench.times[i])
			return 1;
	}
	pv_fd_presize_table(65536);
	if (pv_kvm_open(&bench.kvm, &err) < 0 || pv_loop_create(&bench.loop, &err) < 0 ||
	    pv_loop_start(bench.loop, &err) < 0) {
		fprintf(stderr, "fork: %s\n", err.text);
		return 1;
	}
	int code = run(&bench, &err);
	if (code < 0)
		fprintf(stderr, "fork: %s\n", err.text);
	pv_loop_destroy(bench.loop);
	pv_kvm_close(&bench.kvm);
	for (unsigned i = 0; i < 4; i++)
		free(bench.times[i]);
	return code < 0;
}
