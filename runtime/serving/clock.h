/* clock.h - the time that requests are measured in.
 */
#ifndef SA2_RUNTIME_SERVING_CLOCK_H
#define SA2_RUNTIME_SERVING_CLOCK_H

#include <time.h>

/* Milliseconds of a clock that never jumps. */
static inline double sa2_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

#endif
