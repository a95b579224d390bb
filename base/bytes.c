/*
 * The growable buffer behind messages, files in memory and streams. Capacity doubles, so that
 * appending in small pieces costs linear time; all sizes are checked for overflow because lengths
 * may come from outside. No locking: a buffer belongs to whoever holds it.
 */
#include "base/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SMALLEST 64

/* Blocks from here on are mapped by the allocator, and hold some large pages. */
#define MANY_PAGES ((size_t)8 << 20)
#define PAGE	   ((uintptr_t)4096)

void pv_bytes_expect_much(void *block, size_t size)
{
	if (size < MANY_PAGES)
		return;
	/* With the first page and the last, or the mapping would fall apart and could not be moved as a
	 * whole when it grows. */
	uintptr_t at = (uintptr_t)block & ~(PAGE - 1);
	uintptr_t end = ((uintptr_t)block + size + PAGE - 1) & ~(PAGE - 1);
	/* An advice: a kernel without large pages refuses it. */
	madvise((void *)at, end - at, MADV_HUGEPAGE);
}

int pv_bytes_reserve(struct pv_bytes *bytes, size_t extra)
{
	size_t need;
	/* No object is larger than PTRDIFF_MAX; refused here, so that no allocator complains. */
	if (__builtin_add_overflow(bytes->len, extra, &need) || need > PTRDIFF_MAX)
		return -ENOMEM;
	if (need <= bytes->capacity)
		return 0;
	size_t capacity = bytes->capacity < SMALLEST ? SMALLEST : bytes->capacity;
	while (capacity < need)
		capacity *= 2;
	uint8_t *data = realloc(bytes->data, capacity);
	if (!data)
		return -ENOMEM;
	bytes->data = data;
	bytes->capacity = capacity;
	pv_bytes_expect_much(data, capacity);
	return 0;
}

int pv_bytes_append(struct pv_bytes *bytes, const void *data, size_t len)
{
	if (len == 0)
		return 0;
	int status = pv_bytes_reserve(bytes, len);
	if (status < 0)
		return status;
	memcpy(bytes->data + bytes->len, data, len);
	bytes->len += len;
	return 0;
}

int pv_bytes_printf(struct pv_bytes *bytes, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int status = -ENOMEM;
	int len = vsnprintf(NULL, 0, fmt, args);
	if (len < 0)
		goto out;
	/* vsnprintf also writes a NUL, which stays outside `len`. */
	status = pv_bytes_reserve(bytes, (size_t)len + 1);
	if (status < 0)
		goto out;
	vsnprintf((char *)bytes->data + bytes->len, (size_t)len + 1, fmt, again);
	bytes->len += (size_t)len;
out:
	va_end(again);
	va_end(args);
	return status;
}

void pv_bytes_consume(struct pv_bytes *bytes, size_t count)
{
	if (count == 0)
		return;
	if (count >= bytes->len) {
		bytes->len = 0;
		return;
	}
	memmove(bytes->data, bytes->data + count, bytes->len - count);
	bytes->len -= count;
}

const char *pv_bytes_text(struct pv_bytes *bytes)
{
	if (pv_bytes_reserve(bytes, 1) < 0)
		return NULL;
	bytes->data[bytes->len] = '\0';
	return (const char *)bytes->data;
}

void pv_bytes_finish(struct pv_bytes *bytes)
{
	if (!bytes)
		return;
	free(bytes->data);
	*bytes = (struct pv_bytes){0};
}
