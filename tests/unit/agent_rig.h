/*
 * A real guest agent as a child process of the test, and the host's client joined to it by a socket
 * pair in the place of a vsock device.
 */
#ifndef PV_TESTS_UNIT_AGENT_RIG_H
#define PV_TESTS_UNIT_AGENT_RIG_H

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
};

/* cmocka's setup and teardown: *state becomes a rig whose agent is ready. The agent is the embedded
 * one. */
int agent_rig_setup(void **state);
int agent_rig_teardown(void **state);

/* Runs `sh -c script` and gives the result; fails the test when that cannot be started. Finish the
 * buffers by agent_rig_free. */
struct pv_agent_exec_result agent_rig_shell(struct agent_rig *rig, const char *script);
void agent_rig_free(struct pv_agent_exec_result *result);

/* Fails the test when the buffer does not hold exactly `text`. */
void agent_rig_assert_text(const struct pv_bytes *bytes, const char *text);

#endif
