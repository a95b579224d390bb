/*
 * Making a guest from a distribution's kernel: a folder with the kernel, an initramfs that holds
 * the needed modules in loading order, busybox and the agent's list of modules, and the profile
 * that names them.
 */
#ifndef PV_LAB_IMAGE_H
#define PV_LAB_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

struct pv_err;

/* Where the kernel comes from: exactly one of `package`, `kernel` (with `modules`) and `running`.
 */
struct pv_image_source {
	const char *package; /* a Debian package file (linux-image-*.deb) */
	const char *kernel;  /* a vmlinuz or vmlinux */
	const char *modules; /* its modules folder, .../lib/modules/<release>; NULL: everything
				needed is built in */
	bool running;	     /* the kernel that this host runs: /boot/vmlinuz-$(uname -r),
				/lib/modules/$(uname -r) */
};

struct pv_image_options {
	struct pv_image_source source;
	const char *out_dir;		  /* made when missing; its files are replaced */
	const char *name;		  /* of the profile */
	const char *busybox;		  /* static busybox; NULL: found in PATH or /bin/busybox */
	const char *const *extra_modules; /* names to include and load besides the usual ones */
	size_t extra_module_count;
	const char *cmdline; /* NULL: a quiet default */
};

struct pv_image_result {
	char *kernel; /* paths of what was written */
	char *initrd;
	char *profile;
	char *release;		 /* of the kernel, or "" when unknown */
	size_t modules_loaded;	 /* listed for loading at boot */
	size_t modules_included; /* available to modprobe besides */
	bool unchanged;		 /* everything was there already, made from the same */
	char *missing; /* modules of the usual list that the kernel has neither as file nor built
			  in, comma-separated; "" for none */
};

/* Builds it. Returns 0 or -errno with a sentence; what was there before is replaced only when
 * everything is complete. The caller finishes the result. */
int pv_image_build(
    const struct pv_image_options *options, struct pv_image_result *result, struct pv_err *err);
void pv_image_result_finish(struct pv_image_result *result);

#endif
