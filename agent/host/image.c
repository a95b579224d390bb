/*
 * The embedded guest agent: image.S holds the bytes between two symbols. Constant; any thread.
 */
#include "agent/host/image.h"

extern const char pv_agent_image_begin[];
extern const char pv_agent_image_end[];

struct pv_span pv_agent_image(void)
{
	return (struct pv_span){
	    .data = pv_agent_image_begin,
	    .len = (size_t)(pv_agent_image_end - pv_agent_image_begin),
	};
}
