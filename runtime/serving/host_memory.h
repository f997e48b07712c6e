/* host_memory.h - how much memory this process may use: the machine's, or less in a container.
 */
#ifndef SA2_RUNTIME_SERVING_HOST_MEMORY_H
#define SA2_RUNTIME_SERVING_HOST_MEMORY_H

#include <stddef.h>

size_t sa2_host_memory_bytes(void);

#endif
