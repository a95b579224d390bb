/*
 * A real guest agent as a child process of the test, and the host's client joined to it by a socket
 * pair in the place of a vsock device; or by connections to a socket that the agent makes again
 * whenever one ends, and that can be cut in the middle of anything.
 */
#ifndef PV_TESTS_UNIT_AGENT_RIG_H
#define PV_TESTS_UNIT_AGENT_RIG_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/host/client.h"
#include "base/err.h"
#include "base/loop.h"

struct agent_rig {
	struct pv_loop *loop;
	struct pv_agent *agent;
	struct pv_loop_watch watch;
	int fd;
	pid_t pid;
	char folder[64]; /* an empty one for this test */
	/* Of agent_rig_setup_cut. */
	int listener; /* else -1 */
	struct pv_loop_watch callers;
	struct pv_loop_timer cut_soon;
	size_t cut_after; /* bytes, both ways, until the connection is cut; what is sent further is
			     lost */
	size_t cut_again; /* and after that, SIZE_MAX for once */
	unsigned cuts;	  /* so far */
};

/* cmocka's setup and teardown: *state becomes a rig whose agent is ready. The agent is the embedded
 * one. */
int agent_rig_setup(void **state);
int agent_rig_teardown(void **state);

/* The same with an agent that connects again after each cut and a client that is told of an
 * interruption. */
int agent_rig_setup_cut(void **state);
/* [locked] Cuts the connection, and takes no other before agent_rig_wake, which waits for it. */
void agent_rig_suspend(struct agent_rig *rig);
void agent_rig_wake(struct agent_rig *rig);
/* Kills the agent, and starts another one in its place. */
void agent_rig_replace(struct agent_rig *rig);

/* Where `name` lies in the test's folder; the text holds until the fourth call from now. */
const char *agent_rig_path(const struct agent_rig *rig, const char *name);

/* The most memory that a process has used, in KiB; its files are not part of it. */
long agent_rig_peak_memory(int64_t pid);

/* Runs `sh -c script` on somebody's behalf, with input, and gives the result; fails the test when
 * that cannot be started. */
struct pv_agent_exec_result agent_rig_run(
    const struct pv_principal *by, const char *script, const void *input, size_t len);

/* Runs `sh -c script` and gives the result; fails the test when that cannot be started. Finish the
 * buffers by agent_rig_free. */
struct pv_agent_exec_result agent_rig_shell(struct agent_rig *rig, const char *script);
void agent_rig_free(struct pv_agent_exec_result *result);

/* Fails the test when the buffer does not hold exactly `text`. */
void agent_rig_assert_text(const struct pv_bytes *bytes, const char *text);

#endif
