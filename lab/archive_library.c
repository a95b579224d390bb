/*
 * libarchive brings libxml2 and ICU with it, and they take most of the time in which a program
 * starts; but only `provium image build` reads packages. So it is loaded by that, and all other
 * runs do without.
 */
#include "lab/archive_library.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define LIBRARY "libarchive.so.13"

static int refuse(struct pv_err *err)
{
	const char *why = dlerror();
	return pv_err_set(err, PV_ERR_SYSTEM, ENOENT,
	    "reading packages needs " LIBRARY "; install libarchive13 (%s)",
	    why ? why : "it lacks a function");
}

const struct pv_archive_library *pv_archive_library_load(struct pv_err *err)
{
	static struct pv_archive_library library;
	static bool loaded;
	if (loaded)
		return &library;
	void *handle = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);
	if (!handle) {
		refuse(err);
		return NULL;
	}
	/* POSIX lets a pointer to a function be a pointer to data. */
#define LOOK_UP(name)                                                 \
	*(void **)&library.name##_ = dlsym(handle, "archive_" #name); \
	if (!library.name##_) {                                       \
		refuse(err);                                          \
		dlclose(handle);                                      \
		return NULL;                                          \
	}
	PV_ARCHIVE_FUNCTIONS(LOOK_UP)
	loaded = true;
	return &library;
}
