/*
 * The guest agent as bytes: the static program that the build made, embedded, so that one file is all that needs to be installed.
 */
#ifndef PV_AGENT_HOST_IMAGE_H
#define PV_AGENT_HOST_IMAGE_H

#include "base/bytes.h"

/* The ELF file of the guest agent. Constant, never freed. */
struct pv_span pv_agent_image(void);

#endif
