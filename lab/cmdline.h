/*
 * The kernel command line of one boot, put together from profile and options (spec section 7.2).
 */
#ifndef PV_LAB_CMDLINE_H
#define PV_LAB_CMDLINE_H

struct pv_bytes;
struct pv_err;
struct pv_options;
struct pv_profile;

/* Where the agent's archive puts it. */
#define PV_CMDLINE_AGENT_PATH "/sbin/provium-agent"

/*
 * Base (cmdline_file with white space collapsed, then cmdline; or options.kernel_cmdline instead of
 * both), then kernel_cmdline_append, then `console=ttyS0` when absent, then `rdinit=` of the agent
 * when it is injected. Appends text to `out`. Errors name the profile. Returns 0 or -errno.
 */
int pv_cmdline_build(const struct pv_profile *profile, const struct pv_options *options,
    struct pv_bytes *out, struct pv_err *err);

#endif
