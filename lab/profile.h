/*
 * A profile: the (kernel, initrd, command line) tuple that a test picks by name, as read from
 * provium.toml.
 */
#ifndef PV_LAB_PROFILE_H
#define PV_LAB_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

/* A disk that the profile attaches to every guest. Read and checked here; the block device comes
 * with a later issue. */
struct pv_profile_disk {
	char *id;
	char *path;
	char *scratch;
	char *template_path;
	bool readonly;
	bool mediated;
};

/* All strings are owned, NULL when unset; paths are as usable from the current directory. */
struct pv_profile {
	char *name;
	char *dir; /* where relative paths and `build` start */
	char *kernel;
	char *root; /* alternative to kernel: searched for usr/lib/modules/<release>/vmlinuz-* */
	char *initrd;
	char *cmdline;
	char *cmdline_file;
	char *guest_os; /* any name; "linux" when unset */
	bool inject_agent;
	char *agent_overlay_path;
	double agent_boot_timeout; /* seconds, positive */
	char *build;
	char *build_out;
	struct pv_profile_disk *disks;
	size_t disk_count;
};

#endif
