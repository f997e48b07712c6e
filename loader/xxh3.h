/* xxh3.h - XXH3 by the widest instructions that the processor at hand has: the library's own choice at run time, which
 * its plain header leaves at SSE2. */
#ifndef SA2_LOADER_XXH3_H
#define SA2_LOADER_XXH3_H

#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#endif
