/*
 * fork_probe [-c CPUS] [-m MIB] [-t TEXT] [-v] KERNEL INITRD FILE: boots a kernel, freezes it when
 * the console shows TEXT (`tick 5`), and lets the parent, two forks of it, a rewind and, in a
 * second process, a restore from FILE go on until each has shown TEXT's next five ticks. For
 * bring-up and measurements, not installed.
 *
 * The guest prints `tick N` and counts; what it prints of trouble (`bad`, a soft lockup, a
 * clocksource that is given up) fails. Times go to stderr. `fork_probe -R FILE` is the second
 * process. With -v the guest has connected to port 1234 and answers `?` with `!`: it does so on
 * that connection to the end.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/loop.h"
#include "virtio/vsock.h"
#include "vmm/kernel.h"
#include "vmm/kvm.h"
#include "vmm/machine.h"
#include "vmm/template.h"

#define CONSOLE_MAX (1u << 20)
#define PORT	    1234u
#define PATIENCE    (300 * PV_CLOCK_SECOND)

/* A machine and what it says. */
struct guest {
	const char *name;
	struct pv_loop *loop;
	struct pv_machine *machine;
	char console[CONSOLE_MAX]; /* under the loop lock */
	size_t len;
	bool stopped;
	struct pv_machine_stop stop;
	struct pv_vsock_conn *conn; /* of the guest, to port 1234 */
	unsigned pongs;
	unsigned lost; /* connections that ended */
};

static struct pv_kvm kvm;
static struct pv_loop *loop;
static int64_t start_ns;
static bool with_socket;
static struct guest *guests[8];

static void note(const char *who, const char *what)
{
	fprintf(stderr, "[probe %8.1f ms] %s: %s\n", (double)(pv_clock_now() - start_ns) / 1e6, who,
	    what);
}

static void on_console(
    void *ctx, enum pv_machine_console console, const void *data, size_t len)
{
	struct guest *guest = ctx;
	if (len > CONSOLE_MAX - 1 - guest->len)
		len = CONSOLE_MAX - 1 - guest->len;
	memcpy(guest->console + guest->len, data, len);
	guest->len += len;
	if (memchr(data, '\n', len))
		pv_loop_wake(guest->loop);
}

static void on_stop(void *ctx, const struct pv_machine_stop *stop)
{
	struct guest *guest = ctx;
	guest->stopped = true;
	guest->stop = *stop;
	pv_loop_wake(guest->loop);
}

static void on_receive(void *ctx, const void *data, size_t len)
{
	struct guest *guest = ctx;
	for (size_t i = 0; i < len; i++)
		guest->pongs += ((const char *)data)[i] == '!';
	pv_vsock_conn_credit(guest->conn, len);
	pv_loop_wake(guest->loop);
}

static void on_nothing(void *ctx)
{
}

static void on_closed(void *ctx)
{
	struct guest *guest = ctx;
	guest->conn = NULL;
	guest->lost++;
	pv_loop_wake(guest->loop);
}

static const struct pv_stream_port_ops PORT_OPS = {
    .connected = on_nothing,
    .receive = on_receive,
    .writable = on_nothing,
    .end_of_stream = on_nothing,
    .closed = on_closed,
};

static bool take(
    void *ctx, struct pv_vsock_conn *conn, const struct pv_stream_port_ops **ops, void **port_ctx)
{
	struct guest *guest = ctx;
	guest->conn = conn;
	*ops = &PORT_OPS;
	*port_ctx = guest;
	return true;
}

static bool adopt(void *ctx, struct pv_vsock_conn *conn, uint32_t host_port, uint32_t guest_port,
    const struct pv_stream_port_ops **ops, void **port_ctx)
{
	return host_port == PORT && take(ctx, conn, ops, port_ctx);
}

static const struct pv_machine_events EVENTS = {.console = on_console, .stopped = on_stop};

static void need(int code, const struct pv_err *err)
{
	if (code >= 0)
		return;
	fprintf(stderr, "fork_probe: %s\n", err->text);
	exit(2);
}

static struct guest *new_guest(unsigned index, const char *name)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	if (!guest)
		exit(2);
	guest->name = name;
	guest->loop = loop;
	guests[index] = guest;
	return guest;
}

static void wait_for(struct guest *guest, const char *text)
{
	int64_t deadline = pv_clock_deadline(PATIENCE);
	int code = 0;
	pv_loop_lock(loop);
	while (code == 0 && !guest->stopped && !strstr(guest->console, text))
		code = pv_loop_wait(loop, deadline);
	bool seen = strstr(guest->console, text) != NULL;
	static const char *const trouble[] = {
	    "bad", "soft lockup", "Marking clocksource", "rcu_sched self-detected", "Oops", "BUG:"};
	for (size_t i = 0; i < sizeof(trouble) / sizeof(trouble[0]); i++) {
		if (strstr(guest->console, trouble[i])) {
			fprintf(stderr, "%s says `%s`\n", guest->name, trouble[i]);
			seen = false;
		}
	}
	pv_loop_unlock(loop);
	if (!seen) {
		fprintf(stderr, "%s: no `%s`; %s; console:\n%s\n", guest->name, text,
		    guest->stop.text, guest->console);
		exit(1);
	}
	note(guest->name, text);
}

/* A question and its answer on the guest's connection, which is the one of before. */
static void ping(struct guest *guest)
{
	int64_t begin = pv_clock_now();
	int64_t deadline = pv_clock_deadline(PATIENCE);
	int code = 0;
	if (!with_socket)
		return;
	pv_loop_lock(loop);
	const unsigned before = guest->pongs;
	bool sent = guest->conn && pv_vsock_conn_send(guest->conn, "?", 1) == 1;
	while (sent && code == 0 && guest->pongs == before && guest->conn)
		code = pv_loop_wait(loop, deadline);
	bool answered = guest->pongs == before + 1;
	pv_loop_unlock(loop);
	fprintf(stderr, "%s: answer on its old connection after %.2f ms\n", guest->name,
	    (double)(pv_clock_now() - begin) / 1e6);
	if (answered)
		return;
	fprintf(
	    stderr, "%s: no answer on its connection; console:\n%s\n", guest->name, guest->console);
	exit(1);
}

static void resume(struct guest *guest)
{
	struct pv_err err = PV_ERR_INIT;
	pv_loop_lock(loop);
	memset(guest->console, 0, guest->len);
	guest->len = 0;
	pv_loop_unlock(loop);
	need(pv_machine_resume(guest->machine, &err), &err);
}

static void restore(struct guest *guest, struct pv_template *template)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_machine_config boot = {.events = &EVENTS, .events_ctx = guest};
	const struct pv_machine_restore options = {
	    .boot = &boot, .adopt = adopt, .adopt_ctx = guest};
	int64_t begin = pv_clock_now();
	need(pv_machine_restore(&guest->machine, &kvm, loop, template, &options, &err), &err);
	resume(guest);
	fprintf(stderr, "%s: restored and resumed in %.2f ms\n", guest->name,
	    (double)(pv_clock_now() - begin) / 1e6);
	ping(guest);
}

static int restore_file(const char *path)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template;
	struct guest *guest = new_guest(0, "from the file");
	int64_t begin = pv_clock_now();
	need(pv_template_open(&template, path, false, &err), &err);
	fprintf(stderr, "opened in %.2f ms\n", (double)(pv_clock_now() - begin) / 1e6);
	restore(guest, template);
	wait_for(guest, "tick 10\r");
	fprintf(stderr, "console of the restored guest:\n%s\n", guest->console);
	pv_machine_destroy(guest->machine);
	pv_template_unref(template);
	return 0;
}

static void run_second_process(char *self, const char *path)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		execl(self, self, with_socket ? "-vR" : "-R", path, (char *)NULL);
		_exit(3);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) {
		fprintf(stderr, "the second process failed\n");
		exit(1);
	}
}

static void pause_and_freeze(struct guest *parent, struct pv_template **template)
{
	struct pv_err err = PV_ERR_INIT;
	int64_t begin = pv_clock_now();
	need(pv_machine_pause(parent->machine, &err), &err);
	int64_t paused = pv_clock_now();
	need(pv_machine_freeze(parent->machine, template, &err), &err);
	fprintf(stderr, "paused in %.2f ms, frozen in %.2f ms\n", (double)(paused - begin) / 1e6,
	    (double)(pv_clock_now() - paused) / 1e6);
}

static int boot_and_fork(
    char *self, struct pv_machine_config *config, const char *text, const char *path)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_template *template;
	struct guest *parent = new_guest(0, "parent");
	config->events = &EVENTS;
	config->events_ctx = parent;
	need(pv_machine_create(&parent->machine, &kvm, loop, config, &err), &err);
	pv_loop_lock(loop);
	need(pv_vsock_listen(pv_machine_vsock(parent->machine), PORT, take, parent), &err);
	pv_machine_set_adopt(parent->machine, adopt, parent);
	pv_loop_unlock(loop);
	need(pv_machine_start(parent->machine, &err), &err);
	wait_for(parent, text);
	ping(parent);
	pause_and_freeze(parent, &template);

	struct guest *first = new_guest(1, "first fork");
	struct guest *second = new_guest(2, "second fork");
	restore(first, template);
	restore(second, template);
	wait_for(first, "tick 10\r");
	wait_for(second, "tick 10\r");
	resume(parent);
	ping(parent);
	wait_for(parent, "tick 10\r");
	need(pv_machine_pause(parent->machine, &err), &err);
	int64_t begin = pv_clock_now();
	need(pv_machine_rewind(parent->machine, &err), &err);
	fprintf(stderr, "rewound in %.2f ms\n", (double)(pv_clock_now() - begin) / 1e6);
	resume(parent);
	ping(parent);
	wait_for(parent, "tick 10\r");
	for (unsigned i = 0; i < 3; i++)
		pv_machine_destroy(guests[i]->machine);
	begin = pv_clock_now();
	need(pv_template_write(template, path, NULL, &err), &err);
	fprintf(stderr, "written in %.2f ms\n", (double)(pv_clock_now() - begin) / 1e6);
	pv_template_unref(template);
	run_second_process(self, path);
	fprintf(stderr, "fork_probe: all is well\n");
	return 0;
}

int main(int argc, char **argv)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_machine_config config = {
	    .memory_bytes = UINT64_C(256) << 20,
	    .cpus = 1,
	    .cmdline = "console=ttyS0 reboot=t panic=-1",
	    .vsock_cid = 3,
	};
	const char *text = "tick 5\r";
	const char *file = NULL;
	int option;
	start_ns = pv_clock_now();
	while ((option = getopt(argc, argv, "c:m:t:vR:")) != -1) {
		switch (option) {
		case 'c': config.cpus = (unsigned)atoi(optarg); break;
		case 'm': config.memory_bytes = (uint64_t)atol(optarg) << 20; break;
		case 't': text = optarg; break;
		case 'v': with_socket = true; break;
		case 'R': file = optarg; break;
		default: return 2;
		}
	}
	need(pv_kvm_open(&kvm, &err), &err);
	need(pv_loop_create(&loop, &err), &err);
	need(pv_loop_start(loop, &err), &err);
	if (file)
		return restore_file(file);
	if (argc - optind != 3) {
		fprintf(stderr, "usage: fork_probe [OPTION]... KERNEL INITRD FILE\n");
		return 2;
	}
	struct pv_kernel *kernel = NULL;
	struct pv_bytes initrd = {0};
	need(pv_kernel_open(&kernel, argv[optind], NULL, &err), &err);
	need(pv_fd_slurp("initrd", argv[optind + 1], 1u << 30, &initrd, &err), &err);
	const struct pv_span part = {initrd.data, initrd.len};
	config.kernel = kernel;
	config.initrd = &part;
	config.initrd_parts = 1;
	return boot_and_fork(argv[0], &config, text, argv[optind + 2]);
}
