/*
 * Writing AML, the byte code of ACPI tables (ACPI 6.4, section 20). Only the terms that our DSDT
 * needs.
 */
#ifndef PV_VMM_AML_H
#define PV_VMM_AML_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* A writer. Zero it; `out` is owned and finished by the caller. The first failure sticks in
 * `status`. */
struct pv_aml {
	struct pv_bytes out;
	int status;
};

/* Begins an object with a package length; the result is given to pv_aml_end. */
size_t pv_aml_scope(struct pv_aml *aml, const char *name);
size_t pv_aml_device(struct pv_aml *aml, const char *name);
/* A method without arguments; statements follow. */
size_t pv_aml_method(struct pv_aml *aml, const char *name);
/* `count` elements follow. */
size_t pv_aml_package(struct pv_aml *aml, uint8_t count);
/* A resource template for a _CRS; its end puts the end tag and the sizes. */
size_t pv_aml_resources(struct pv_aml *aml);
void pv_aml_end(struct pv_aml *aml, size_t begun);
void pv_aml_end_resources(struct pv_aml *aml, size_t begun);

/* Name(name, ...): the value follows. Names have four characters; a leading backslash is the root.
 */
void pv_aml_name(struct pv_aml *aml, const char *name);
void pv_aml_integer(struct pv_aml *aml, uint64_t value);
void pv_aml_string(struct pv_aml *aml, const char *text);
/* EisaId("PNP0A03") */
void pv_aml_eisa_id(struct pv_aml *aml, const char *id);

/* Notify(\scope.device, value), as a statement. */
void pv_aml_notify(struct pv_aml *aml, const char *scope, const char *device, uint8_t value);

/* --- resource descriptors (6.4) --- */
void pv_aml_io(struct pv_aml *aml, uint16_t base, uint8_t len);
void pv_aml_irq(struct pv_aml *aml, unsigned irq);
void pv_aml_bus_range(struct pv_aml *aml, uint16_t first, uint16_t last);
void pv_aml_io_range(struct pv_aml *aml, uint16_t first, uint16_t last);
void pv_aml_memory_range(struct pv_aml *aml, uint32_t first, uint32_t last);

#endif
