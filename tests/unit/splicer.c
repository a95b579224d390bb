/*
 * splicer PID: a program whose output nobody can read. It writes a line, and waits in splice(2) for
 * a source that never gives anything, with the lock of the pipe in its hands. PID is who would
 * read: it stands still meanwhile, so that the line is still there. Ends after half a minute.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const char line[] = "held\n";
	int source[2];
	alarm(30);
	pid_t reader = argc == 2 ? (pid_t)atoi(argv[1]) : 0;
	if (reader <= 1 || socketpair(AF_UNIX, SOCK_STREAM, 0, source) < 0)
		return 1;
	kill(reader, SIGSTOP);
	bool written = write(STDOUT_FILENO, line, sizeof(line) - 1) > 0;
	if (fork() == 0) {
		/* A hope, not a promise: the splice has begun by then. */
		usleep(100000);
		kill(reader, SIGCONT);
		_exit(0);
	}
	return !written || splice(source[0], NULL, STDOUT_FILENO, NULL, 4096, 0) < 0;
}
