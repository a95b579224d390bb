/*
 * The agent's program is executed from memory out of pv_agent_image, so these tests also show that
 * the embedded bytes are a program. Its end of the socket pair is descriptor 3. The host's end
 * hangs in a loop with a thread, as in a worker.
 */
#include "tests/unit/agent_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host/image.h"
#include "base/clock.h"
#include "base/fd.h"

/* Like a device that its driver resets. */
static void cut(struct agent_rig *rig)
{
	if (rig->fd < 0)
		return;
	pv_loop_watch_remove(&rig->watch);
	pv_fd_close(&rig->fd);
	rig->cuts++;
	rig->cut_after = rig->cut_again;
	pv_agent_interrupt(rig->agent, "cut");
}

static void cut_from_timer(void *ctx)
{
	cut(ctx);
}

/* Returns how many of `len` bytes still pass. */
static size_t spend(struct agent_rig *rig, size_t len)
{
	if (rig->cut_after == SIZE_MAX)
		return len;
	const size_t passing = len < rig->cut_after ? len : rig->cut_after;
	rig->cut_after -= passing;
	return passing;
}

static size_t link_send(void *ctx, const void *data, size_t len)
{
	struct agent_rig *rig = ctx;
	const size_t passing = spend(rig, len);
	ssize_t done = passing > 0 ? send(rig->fd, data, passing, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
	/* The rest is taken, and never arrives: at every other cut the client hears of it at once.
	 */
	if (rig->cut_after == 0) {
		if (rig->cuts % 2 == 0)
			cut(rig);
		else
			pv_loop_timer_set(
			    rig->loop, &rig->cut_soon, pv_clock_now(), cut_from_timer, rig);
		return len;
	}
	/* An error shows as the end of the stream soon. */
	size_t taken = done < 0 ? 0 : (size_t)done;
	if (taken < len)
		pv_loop_watch_set(&rig->watch, EPOLLIN | EPOLLOUT);
	return taken;
}

static void link_digested(void *ctx, size_t len)
{
}

static void link_close(void *ctx)
{
	struct agent_rig *rig = ctx;
	pv_loop_watch_remove(&rig->watch);
	pv_fd_close(&rig->fd);
}

static const struct pv_agent_link_ops link_ops = {
    .send = link_send,
    .digested = link_digested,
    .close = link_close,
};

static void link_ready(void *ctx, uint32_t events)
{
	struct agent_rig *rig = ctx;
	static uint8_t chunk[256 << 10];
	if (events & EPOLLOUT) {
		pv_loop_watch_set(&rig->watch, EPOLLIN);
		pv_agent_writable(rig->agent);
	}
	if (rig->fd < 0 || !(events & ~(uint32_t)EPOLLOUT))
		return;
	ssize_t got = recv(rig->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got > 0) {
		const size_t passing = spend(rig, (size_t)got);
		if (passing > 0)
			pv_agent_receive(rig->agent, chunk, passing);
		if (rig->cut_after == 0)
			cut(rig);
		return;
	}
	if (rig->listener >= 0) {
		cut(rig);
		return;
	}
	link_close(rig);
	pv_agent_closed(rig->agent);
}

/* In the child, where only system calls are safe. It serves the socket, or the one that has a
 * name. */
static void become_agent(int program, int socket, char *at)
{
	char name[] = "provium-agent", serve_fd[] = "--serve-fd", number[] = "3";
	char serve_at[] = "--serve-at", *option = at ? serve_at : serve_fd;
	char path[] = "PATH=/usr/bin:/bin", mark[] = "RIG=yes";
	char *const argv[] = {name, option, at ? at : number, NULL};
	char *const env[] = {path, mark, NULL};
	/* First out of the way of 3 and 4, then there. */
	program = fcntl(program, F_DUPFD, 10);
	if (!at)
		dup2(fcntl(socket, F_DUPFD, 10), 3);
	dup2(program, 4);
	fcntl(4, F_SETFD, FD_CLOEXEC);
	/* Whatever else the test holds must not keep pipes of other tests open. */
	close_range(5, ~0u, 0);
	fexecve(4, argv, env);
	_exit(126);
}

static pid_t start_agent(int socket, char *at)
{
	struct pv_span image = pv_agent_image();
	int program = memfd_create("provium-agent", MFD_CLOEXEC);
	assert_true(program >= 0);
	assert_int_equal(pv_fd_write_all(program, image.data, image.len), 0);
	pid_t pid = fork();
	if (pid == 0)
		become_agent(program, socket, at);
	close(program);
	assert_true(pid > 0);
	return pid;
}

static void begin_stream(struct agent_rig *rig)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(
	    pv_loop_watch_add(rig->loop, &rig->watch, rig->fd, EPOLLIN, link_ready, rig, &err), 0);
	assert_true(pv_agent_attach(rig->agent, &link_ops, rig));
}

static struct agent_rig *create(void)
{
	struct pv_err err = PV_ERR_INIT;
	struct agent_rig *rig = calloc(1, sizeof(*rig));
	assert_non_null(rig);
	rig->fd = rig->listener = -1;
	rig->cut_after = rig->cut_again = SIZE_MAX;
	snprintf(rig->folder, sizeof(rig->folder), "/tmp/agent_rig.XXXXXX");
	assert_non_null(mkdtemp(rig->folder));
	assert_int_equal(pv_loop_create(&rig->loop, &err), 0);
	assert_int_equal(pv_agent_create(&rig->agent, rig->loop, &err), 0);
	assert_int_equal(pv_loop_start(rig->loop, &err), 0);
	return rig;
}

/* With the lock. */
static void wait_ready(struct agent_rig *rig)
{
	while (!pv_agent_is_ready(rig->agent) && (rig->fd >= 0 || rig->listener >= 0))
		pv_loop_wait(rig->loop, PV_CLOCK_NEVER);
	assert_true(pv_agent_is_ready(rig->agent));
}

int agent_rig_setup(void **state)
{
	struct agent_rig *rig = create();
	int pair[2];
	*state = rig;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	rig->fd = pair[0];
	rig->pid = start_agent(pair[1], NULL);
	close(pair[1]);
	pv_loop_lock(rig->loop);
	begin_stream(rig);
	wait_ready(rig);
	pv_loop_unlock(rig->loop);
	return 0;
}

static void take_caller(void *ctx, uint32_t events)
{
	struct agent_rig *rig = ctx;
	int fd = accept4(rig->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0 && rig->fd >= 0)
		close(fd);
	else if (fd >= 0) {
		rig->fd = fd;
		begin_stream(rig);
	}
}

static struct sockaddr_un address_of(const struct agent_rig *rig)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s.socket", rig->folder);
	return address;
}

void agent_rig_suspend(struct agent_rig *rig)
{
	pv_loop_watch_remove(&rig->callers);
	cut(rig);
}

void agent_rig_wake(struct agent_rig *rig)
{
	struct pv_err err = PV_ERR_INIT;
	assert_int_equal(pv_loop_watch_add(rig->loop, &rig->callers, rig->listener, EPOLLIN,
			     take_caller, rig, &err),
	    0);
	wait_ready(rig);
}

void agent_rig_replace(struct agent_rig *rig)
{
	struct sockaddr_un address = address_of(rig);
	kill(rig->pid, SIGKILL);
	waitpid(rig->pid, NULL, 0);
	rig->pid = start_agent(-1, address.sun_path);
}

int agent_rig_setup_cut(void **state)
{
	struct agent_rig *rig = create();
	struct sockaddr_un address = address_of(rig);
	*state = rig;
	rig->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(rig->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(rig->listener, 8), 0);
	rig->pid = start_agent(-1, address.sun_path);
	pv_loop_lock(rig->loop);
	agent_rig_wake(rig);
	pv_loop_unlock(rig->loop);
	return 0;
}

int agent_rig_teardown(void **state)
{
	struct agent_rig *rig = *state;
	char command[128];
	pv_loop_lock(rig->loop);
	pv_loop_timer_clear(&rig->cut_soon);
	if (rig->listener >= 0) {
		/* Before it connects again. */
		struct sockaddr_un address = address_of(rig);
		pv_loop_watch_remove(&rig->callers);
		pv_fd_close(&rig->listener);
		unlink(address.sun_path);
		kill(rig->pid, SIGKILL);
	}
	pv_loop_unlock(rig->loop);
	pv_agent_destroy(rig->agent);
	pv_loop_lock(rig->loop);
	link_close(rig);
	pv_loop_unlock(rig->loop);
	pv_loop_stop(rig->loop);
	pv_loop_destroy(rig->loop);
	/* The end of the stream ends the agent. */
	waitpid(rig->pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf %s", rig->folder);
	int status = system(command);
	free(rig);
	return status;
}

struct pv_agent_exec_result agent_rig_shell(struct agent_rig *rig, const char *script)
{
	return agent_rig_run(PV_PRINCIPAL(rig->agent), script, NULL, 0);
}

void agent_rig_free(struct pv_agent_exec_result *result)
{
	pv_bytes_finish(&result->out);
	pv_bytes_finish(&result->err);
}

void agent_rig_assert_text(const struct pv_bytes *bytes, const char *text)
{
	if (bytes->len != strlen(text) || memcmp(bytes->data, text, bytes->len) != 0)
		fail_msg("`%.*s` is not `%s`", (int)bytes->len, (const char *)bytes->data, text);
}

const char *agent_rig_path(const struct agent_rig *rig, const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof(paths[0]), "%s/%s", rig->folder, name);
	return path;
}

long agent_rig_peak_memory(int64_t pid)
{
	char path[64], line[128];
	long value = -1;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	while (value < 0 && fgets(line, sizeof(line), file))
		sscanf(line, "VmHWM: %ld", &value);
	fclose(file);
	assert_true(value > 0);
	return value;
}

struct pv_agent_exec_result agent_rig_run(
    const struct pv_principal *by, const char *script, const void *input, size_t len)
{
	struct pv_err err = PV_ERR_INIT;
	struct pv_agent_exec_result result;
	const char *argv[] = {"sh", "-c", script};
	struct pv_agent_exec exec = {.argv = argv,
	    .argc = 3,
	    .input = input,
	    .input_len = len,
	    .timeout_ns = PV_CLOCK_NEVER};
	if (pv_agent_exec(by, &exec, &result, &err) < 0)
		fail_msg("%s", err.text);
	return result;
}
