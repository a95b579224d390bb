/*
 * boot_probe [OPTION]... KERNEL [INITRD...]: boots a kernel and shows what it prints; for bring-up
 * and measurements, not installed.
 *
 *   -a CMDLINE   kernel command line (console=ttyS0)
 *   -c CPUS      number of vCPUs (1)
 *   -m MIB       memory (256)
 *   -T SECONDS   initial time, since 1970 (host time)
 *   -k DIR       cache of unpacked kernels (none)
 *   -l SECONDS   give up after this long (120)
 *   -b TEXT      press the power button when the console shows TEXT
 *   -p TEXT      pause for half a second, then resume, when the console shows TEXT
 *   -r TEXT      reset once when the console shows TEXT
 *   -i TEXT      when the console shows `INPUT?`, type TEXT and a newline
 *   -x           show at the end how often vCPUs left the guest and why
 *   -q           do not show the console
 *
 * Ends when the guest powers off (0), crashes (2) or time is up (3). Times of note go to stderr, in
 * milliseconds since the start.
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/loop.h"
#include "vmm/kernel.h"
#include "vmm/kvm.h"
#include "vmm/machine_private.h"

#define INITRD_MAX   8
#define FILE_MAX     (UINT64_C(1) << 30)
#define CONSOLE_TAIL 65536

struct probe {
	const char *cmdline;
	unsigned cpus;
	unsigned long mib;
	int64_t initial_time_ns;
	bool has_initial_time;
	const char *cache;
	int64_t limit_ns;
	const char *button_text;
	const char *pause_text;
	const char *reset_text;
	const char *input;
	bool show_exits;
	bool quiet;

	struct pv_loop *loop;
	struct pv_machine *machine;
	int64_t start_ns;
	/* Under the loop lock. */
	char console[CONSOLE_TAIL];
	size_t console_len;
	size_t shown;
	bool has_output;
	bool stopped;
	struct pv_machine_stop stop;
};

static void note(const struct probe *probe, const char *what)
{
	fprintf(stderr, "[probe %8.1f ms] %s\n", (double)(pv_clock_now() - probe->start_ns) / 1e6,
	    what);
}

/* [locked] Passes on what was not shown yet; by lines, since a write a byte would be what is
 * measured. */
static void show(struct probe *probe)
{
	if (!probe->quiet)
		pv_fd_write_all(STDOUT_FILENO, probe->console + probe->shown,
		    probe->console_len - probe->shown);
	probe->shown = probe->console_len;
}

static void on_console(
    void *ctx, enum pv_machine_console console, const void *data, size_t len)
{
	struct probe *probe = ctx;
	if (!probe->has_output)
		note(probe, "first console output");
	probe->has_output = true;
	if (probe->console_len + len > CONSOLE_TAIL) {
		show(probe);
		probe->console_len = 0;
		probe->shown = 0;
	}
	if (len > CONSOLE_TAIL)
		len = CONSOLE_TAIL;
	memcpy(probe->console + probe->console_len, data, len);
	probe->console_len += len;
	if (memchr(data, '\n', len))
		show(probe);
	if (memchr(data, '\n', len) || memchr(data, '?', len))
		pv_loop_wake(probe->loop);
}

static void on_reboot(void *ctx)
{
	note(ctx, "rebooted");
}

static void on_stop(void *ctx, const struct pv_machine_stop *stop)
{
	struct probe *probe = ctx;
	probe->stopped = true;
	probe->stop = *stop;
	pv_loop_wake(probe->loop);
}

static const struct pv_machine_events EVENTS = {
    .console = on_console, .rebooted = on_reboot, .stopped = on_stop};

/* [locked] True once when the console shows `*text`, which is then forgotten. */
static bool shows(const struct probe *probe, const char **text)
{
	if (!*text || !memmem(probe->console, probe->console_len, *text, strlen(*text)))
		return false;
	*text = NULL;
	return true;
}

/* Without the lock. */
static void pause_and_resume(struct probe *probe)
{
	struct pv_err err = PV_ERR_INIT;
	if (pv_machine_pause(probe->machine, &err) < 0)
		fprintf(stderr, "boot_probe: %s\n", err.text);
	note(probe, "paused");
	poll(NULL, 0, 500);
	if (pv_machine_resume(probe->machine, &err) < 0)
		fprintf(stderr, "boot_probe: %s\n", err.text);
	note(probe, "resumed");
}

/* [locked] Does what the console asks for. */
static void react(struct probe *probe)
{
	static const char *input_prompt = "INPUT?";
	struct pv_err err = PV_ERR_INIT;
	if (shows(probe, &probe->button_text)) {
		note(probe, "pressing the power button");
		pv_machine_power_button(probe->machine);
	}
	if (probe->input && shows(probe, &input_prompt)) {
		note(probe, "typing");
		pv_machine_console_input(probe->machine, probe->input, strlen(probe->input));
		pv_machine_console_input(probe->machine, "\n", 1);
	}
	if (shows(probe, &probe->pause_text)) {
		pv_loop_unlock(probe->loop);
		pause_and_resume(probe);
		pv_loop_lock(probe->loop);
	}
	if (shows(probe, &probe->reset_text)) {
		pv_loop_unlock(probe->loop);
		if (pv_machine_reset(probe->machine, &err) < 0)
			fprintf(stderr, "boot_probe: %s\n", err.text);
		pv_loop_lock(probe->loop);
	}
}

static int watch(struct probe *probe)
{
	int64_t deadline = probe->start_ns + probe->limit_ns;
	int code = 0;
	pv_loop_lock(probe->loop);
	while (!probe->stopped && code == 0) {
		react(probe);
		if (!probe->stopped)
			code = pv_loop_wait(probe->loop, deadline);
	}
	pv_loop_unlock(probe->loop);
	return code;
}

static void show_exits(const struct probe *probe)
{
	for (unsigned i = 0; i < probe->cpus; i++) {
		const uint64_t *exits = probe->machine->crew.vcpus[i].exits;
		fprintf(stderr, "vCPU %u exits: io %llu mmio %llu wrmsr %llu", i,
		    (unsigned long long)exits[KVM_EXIT_IO],
		    (unsigned long long)exits[KVM_EXIT_MMIO],
		    (unsigned long long)exits[KVM_EXIT_X86_WRMSR]);
		for (unsigned kind = 0; kind < PV_VCPU_EXIT_KINDS; kind++) {
			if (exits[kind] && kind != KVM_EXIT_IO && kind != KVM_EXIT_MMIO &&
			    kind != KVM_EXIT_X86_WRMSR)
				fprintf(stderr, " reason-%u %llu", kind,
				    (unsigned long long)exits[kind]);
		}
		fprintf(stderr, "\n");
	}
}

static int run(struct probe *probe, struct pv_kvm *kvm, const struct pv_kernel *kernel,
    const struct pv_span *initrd, unsigned parts, struct pv_err *err)
{
	const struct pv_machine_config config = {
	    .memory_bytes = (uint64_t)probe->mib << 20,
	    .cpus = probe->cpus,
	    .kernel = kernel,
	    .cmdline = probe->cmdline,
	    .initrd = initrd,
	    .initrd_parts = parts,
	    .vsock_cid = 3,
	    .initial_time_ns = probe->has_initial_time ? &probe->initial_time_ns : NULL,
	    .events = &EVENTS,
	    .events_ctx = probe,
	};
	int code = pv_machine_create(&probe->machine, kvm, probe->loop, &config, err);
	if (code < 0)
		return code;
	note(probe, "created");
	code = pv_machine_start(probe->machine, err);
	if (code < 0)
		return code;
	if (watch(probe) < 0) {
		note(probe, "time is up");
		code = 3;
	} else {
		note(probe, probe->stop.text);
		code = probe->stop.kind == PV_MACHINE_STOP_POWER_OFF ? 0 : 2;
	}
	pv_machine_stop(probe->machine);
	if (probe->show_exits)
		show_exits(probe);
	return code;
}

static bool parse(struct probe *probe, int argc, char **argv)
{
	int option;
	while ((option = getopt(argc, argv, "a:c:m:T:k:l:b:p:r:i:xq")) != -1) {
		switch (option) {
		case 'a': probe->cmdline = optarg; break;
		case 'c': probe->cpus = (unsigned)atoi(optarg); break;
		case 'm': probe->mib = (unsigned long)atol(optarg); break;
		case 'T':
			probe->has_initial_time = true;
			probe->initial_time_ns = (int64_t)(atof(optarg) * 1e9);
			break;
		case 'k': probe->cache = optarg; break;
		case 'l': probe->limit_ns = (int64_t)(atof(optarg) * 1e9); break;
		case 'b': probe->button_text = optarg; break;
		case 'p': probe->pause_text = optarg; break;
		case 'r': probe->reset_text = optarg; break;
		case 'i': probe->input = optarg; break;
		case 'x': probe->show_exits = true; break;
		case 'q': probe->quiet = true; break;
		default: return false;
		}
	}
	return optind < argc && argc - optind - 1 <= INITRD_MAX;
}

int main(int argc, char **argv)
{
	static struct probe probe = {
	    .cmdline = "console=ttyS0", .cpus = 1, .mib = 256, .limit_ns = 120 * PV_CLOCK_SECOND};
	if (!parse(&probe, argc, argv)) {
		fprintf(stderr,
		    "usage: boot_probe [-a CMDLINE] [-c CPUS] [-m MIB] ... KERNEL [INITRD...]\n");
		return 1;
	}
	struct pv_err err = PV_ERR_INIT;
	struct pv_kvm kvm = {.fd = -1};
	struct pv_kernel *kernel = NULL;
	struct pv_bytes files[INITRD_MAX] = {{0}};
	struct pv_span initrd[INITRD_MAX];
	unsigned parts = (unsigned)(argc - optind - 1);
	probe.start_ns = pv_clock_now();
	int code = pv_kvm_open(&kvm, &err);
	if (code == 0)
		code = pv_loop_create(&probe.loop, &err);
	if (code == 0)
		code = pv_loop_start(probe.loop, &err);
	if (code == 0)
		code = pv_kernel_open(&kernel, argv[optind], probe.cache, &err);
	for (unsigned i = 0; i < parts && code == 0; i++) {
		code = pv_fd_slurp("initrd", argv[optind + 1 + (int)i], FILE_MAX, &files[i], &err);
		initrd[i] = (struct pv_span){files[i].data, files[i].len};
	}
	if (code == 0) {
		note(&probe, "kernel and initrd read");
		code = run(&probe, &kvm, kernel, initrd, parts, &err);
	}
	if (code < 0)
		fprintf(stderr, "boot_probe: %s\n", err.text);
	pv_machine_destroy(probe.machine);
	pv_kernel_destroy(kernel);
	for (unsigned i = 0; i < parts; i++)
		pv_bytes_finish(&files[i]);
	pv_loop_destroy(probe.loop);
	pv_kvm_close(&kvm);
	return code < 0 ? 1 : code;
}
