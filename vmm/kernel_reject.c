/*
 * What a file that is given as a kernel is instead, in words: people hand over initrds, modules,
 * disk images, kernels for other machines and download pages. Only first bytes at fixed places are
 * looked at.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "vmm/kernel_image.h"

#define GIVE "give a bzImage or an ELF vmlinux for x86-64"

struct magic {
	size_t offset;
	size_t len;
	const char *bytes;
	const char *what;
};

#define MAGIC(offset, bytes, what)                     \
	{                                              \
		offset, sizeof(bytes) - 1, bytes, what \
	}

static const struct magic magics[] = {
    MAGIC(0, "070701", "a cpio archive, as an initrd is"),
    MAGIC(0, "070702", "a cpio archive, as an initrd is"),
    MAGIC(0, "QFI\xfb", "a qcow2 disk image"),
    MAGIC(0, "!<arch>\n", "a Debian package or static library"),
    MAGIC(0, "\xed\xab\xee\xdb", "an RPM package"),
    MAGIC(0, "\x89LZO", "data compressed by LZO, which is not supported here"),
    MAGIC(0, "\x27\x05\x19\x56", "a U-Boot image"),
    MAGIC(0, "\xd0\x0d\xfe\xed", "a device tree or FIT image"),
    MAGIC(0, "PK\x03\x04", "a zip archive"),
    MAGIC(0, "sqsh", "a squashfs image"),
    MAGIC(0, "hsqs", "a squashfs image"),
    MAGIC(0x1fe, "\x55\xaa", "a disk image or boot sector"),
    MAGIC(0x101, "ustar", "a tar archive"),
    MAGIC(0x438, "\x53\xef", "an ext2, ext3 or ext4 disk image"),
};

static int refuse(struct pv_err *err, const char *what)
{
	return pv_err_set(err, PV_ERR_INPUT, ENOEXEC, "this is %s; " GIVE, what);
}

/* What the table of magic numbers says, or NULL. */
static const char *known(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		const struct magic *magic = &magics[i];
		if (len >= magic->offset + magic->len &&
		    memcmp(data + magic->offset, magic->bytes, magic->len) == 0)
			return magic->what;
	}
	return NULL;
}

static int refuse_unknown(const uint8_t *data, size_t len, struct pv_err *err)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] != 0)
			return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
			    "no known kind of kernel (it begins with bytes %02x %02x %02x "
			    "%02x); " GIVE,
			    data[0], len > 1 ? data[1] : 0, len > 2 ? data[2] : 0,
			    len > 3 ? data[3] : 0);
	return refuse(err, "nothing but zeros");
}

static int refuse_pe(const uint8_t *data, size_t len, struct pv_err *err)
{
	/* Linux's EFI zboot header has this behind "MZ" and a version. */
	if (len >= 8 && memcmp(data + 4, "zimg", 4) == 0)
		return refuse(err, "an EFI zboot image, as kernels for other machines come in");
	return refuse(err, "an EFI program or unified kernel image");
}

int pv_kernel_reject(enum pv_kernel_format format, const void *data, size_t len, struct pv_err *err)
{
	if (len == 0)
		return pv_err_set(err, PV_ERR_INPUT, ENOEXEC, "the file is empty; " GIVE);
	/* Some archives begin like text, so the table goes first. */
	const char *what =
	    format == PV_KERNEL_SCRIPT || format == PV_KERNEL_UNKNOWN ? known(data, len) : NULL;
	if (what)
		return refuse(err, what);
	switch (format) {
	case PV_KERNEL_ARM64_IMAGE: return refuse(err, "a kernel Image for arm64");
	case PV_KERNEL_PE: return refuse_pe(data, len, err);
	case PV_KERNEL_SCRIPT: return refuse(err, "a text file");
	default: return refuse_unknown(data, len, err);
	}
}
