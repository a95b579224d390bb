/*
 * libarchive, loaded when it is first needed. Private to lab/image*.c.
 */
#ifndef PV_LAB_ARCHIVE_LIBRARY_H
#define PV_LAB_ARCHIVE_LIBRARY_H

#include <archive.h>
#include <archive_entry.h>

struct pv_err;

/* The functions that we use, under their names without `archive_`. */
#define PV_ARCHIVE_FUNCTIONS(F)      \
	F(entry_filetype)            \
	F(entry_hardlink)            \
	F(entry_pathname)            \
	F(errno)                     \
	F(error_string)              \
	F(read_data)                 \
	F(read_free)                 \
	F(read_new)                  \
	F(read_next_header)          \
	F(read_open)                 \
	F(read_open_filename)        \
	F(read_support_filter_bzip2) \
	F(read_support_filter_gzip)  \
	F(read_support_filter_xz)    \
	F(read_support_filter_zstd)  \
	F(read_support_format_ar)    \
	F(read_support_format_tar)   \
	F(set_error)

#define PV_ARCHIVE_MEMBER(name) __typeof__(archive_##name) *name##_;
struct pv_archive_library {
	PV_ARCHIVE_FUNCTIONS(PV_ARCHIVE_MEMBER)
};

/* Returns the functions, for good; or NULL with a sentence when the library is not installed. One
 * thread at a time. */
const struct pv_archive_library *pv_archive_library_load(struct pv_err *err);

#endif
