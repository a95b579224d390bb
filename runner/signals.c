/*
 * Surviving signals. Theory: an ignored signal stays ignored in every program that is started, so
 * the shells and tools of test scripts would behave as nowhere else: a writer whose reader is gone
 * would complain instead of ending, and Ctrl-C would not reach them. A handler that does nothing is
 * as good for us, and exec takes it away.
 */
#include "runner/signals.h"

#include <signal.h>

static void do_nothing(int number)
{
}

void pv_signals_survive(int number)
{
	struct sigaction action = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};
	sigemptyset(&action.sa_mask);
	/* Fails for signals that nobody can survive only. */
	sigaction(number, &action, NULL);
}
