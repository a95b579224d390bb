/*
 * The other side of tests/bench/ops: what the same work costs without Provium.
 *
 *   ops_peer serve                 in a guest: one byte is echoed, a copy is taken or given, for
 * ever ops_peer echo CID COUNT        on its host: round trips of one byte; median and minimum in
 * us ops_peer copy CID MIB          on its host: a plain copy to the guest and from it, in ms each
 *   ops_peer spawn COUNT PROGRAM [ARGUMENT...]   fork, exec and wait; mean, median and minimum in
 * us
 *
 * Static, so that it runs in any guest.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Needs sys/socket.h before it. */
#include <linux/vm_sockets.h>

#define PORT	  4321
#define PIECE	  (128u << 10)
#define COUNT_MAX 100000

/* The first byte of a connection says what it is for; 8 bytes of length follow for copies. */
enum { ECHO = 'e', TAKE = 't', GIVE = 'g' };

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "ops_peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Moves exactly `len` bytes. Returns 0, or -1 at the end of the stream. */
static int take(int fd, void *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t got = recv(fd, (char *)data + at, len - at, 0);
		if (got <= 0)
			return -1;
		at += (size_t)got;
	}
	return 0;
}

static int give(int fd, const void *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t put = send(fd, (const char *)data + at, len - at, MSG_NOSIGNAL);
		if (put <= 0)
			return -1;
		at += (size_t)put;
	}
	return 0;
}

static void move(int fd, char kind, uint64_t len)
{
	static char piece[PIECE];
	int status = 0;
	for (uint64_t left = len; left > 0 && status == 0;) {
		size_t size = left < PIECE ? (size_t)left : PIECE;
		status = kind == TAKE ? take(fd, piece, size) : give(fd, piece, size);
		left -= size;
	}
}

static void serve_one(int fd)
{
	char kind, byte = 0;
	uint64_t len;
	if (take(fd, &kind, 1) < 0)
		return;
	if (kind == ECHO) {
		while (take(fd, &byte, 1) == 0 && give(fd, &byte, 1) == 0)
			;
		return;
	}
	if (take(fd, &len, sizeof(len)) == 0) {
		move(fd, kind, len);
		give(fd, &byte, 1);
	}
}

static int serve(void)
{
	const struct sockaddr_vm address = {
	    .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = PORT};
	int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (listener < 0 ||
	    bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 4) < 0)
		die("cannot listen");
	printf("PEER-IS-UP\n");
	fflush(stdout);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			die("accept");
		serve_one(fd);
		close(fd);
	}
}

static int reach(unsigned cid, char kind)
{
	const struct sockaddr_vm address = {
	    .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = PORT};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		die("cannot reach the guest");
	if (give(fd, &kind, 1) < 0)
		die("send");
	return fd;
}

static int compare(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
	return (left > right) - (left < right);
}

static void print(int64_t *times, int count)
{
	qsort(times, (size_t)count, sizeof(*times), compare);
	double sum = 0;
	for (int i = 0; i < count; i++)
		sum += (double)times[i];
	printf("%.1f %.1f %.1f\n", sum / count / 1e3, (double)times[count / 2] / 1e3,
	    (double)times[0] / 1e3);
}

static int echo(unsigned cid, int count)
{
	static int64_t times[COUNT_MAX];
	char byte = 'x';
	int fd = reach(cid, ECHO);
	for (int i = 0; i < count; i++) {
		int64_t before = now_ns();
		if (give(fd, &byte, 1) < 0 || take(fd, &byte, 1) < 0)
			die("echo");
		times[i] = now_ns() - before;
	}
	print(times, count);
	return 0;
}

static double copy(unsigned cid, char kind, uint64_t len)
{
	char byte;
	int fd = reach(cid, kind);
	int64_t before = now_ns();
	give(fd, &len, sizeof(len));
	move(fd, kind == TAKE ? GIVE : TAKE, len);
	if (take(fd, &byte, 1) < 0)
		die("copy");
	close(fd);
	return (double)(now_ns() - before) / 1e6;
}

static int spawn(int count, char **argv)
{
	static int64_t times[COUNT_MAX];
	for (int i = 0; i < count; i++) {
		int status = 0;
		int64_t before = now_ns();
		pid_t pid = fork();
		if (pid == 0) {
			execvp(argv[0], argv);
			_exit(127);
		}
		if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
			die("the program failed");
		times[i] = now_ns() - before;
	}
	print(times, count);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int count = argc > 3 && strcmp(what, "spawn") != 0 ? atoi(argv[3])
		    : argc > 3				   ? atoi(argv[2])
							   : 0;
	if (strcmp(what, "serve") == 0)
		return serve();
	if (count < 1 || count > COUNT_MAX) {
		fprintf(stderr, "usage: ops_peer serve | echo CID COUNT | copy CID MIB | spawn "
				"COUNT PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	if (strcmp(what, "echo") == 0)
		return echo((unsigned)atoi(argv[2]), count);
	if (strcmp(what, "spawn") == 0)
		return spawn(count, argv + 3);
	uint64_t len = (uint64_t)count << 20;
	double up = copy((unsigned)atoi(argv[2]), TAKE, len);
	printf("%.1f %.1f\n", up, copy((unsigned)atoi(argv[2]), GIVE, len));
	return 0;
}
