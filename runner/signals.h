/* Signals that our processes survive. */
#ifndef PV_RUNNER_SIGNALS_H
#define PV_RUNNER_SIGNALS_H

/* From now on the signal does nothing to this process and its forks, and what caused it fails with
 * its error. Programs that are started have its default again. Before there are threads. */
void pv_signals_survive(int number);

#endif
