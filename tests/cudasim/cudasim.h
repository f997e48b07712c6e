/* cudasim.h - what a test may ask of the simulated device.
 */
#ifndef CUDASIM_CUDASIM_H
#define CUDASIM_CUDASIM_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* After `after` calls of `call` ("cudaMalloc"), the next one fails with `error`, a cudaError_t. */
void cudasim_fail(const char *call, int after, int error);

/* Calls of `call` are counted from here on; those of the one that was before. */
int cudasim_count(const char *call);

/* Blocks of the widest cluster that was launched since this was asked last; 1: there were none. */
int cudasim_widest_cluster(void);

/* The device vanishes: after `after` calls of any kind all fail with `error`, until cudasim_lose(0, 0). */
void cudasim_lose(int after, int error);

/* What a library does on the device beside our kernels: it starts a kernel, in the ordinary way, when all before it have
 * ended; and that kernel reads or writes bytes. */
void cudasim_library_starts(void);
void cudasim_library_access(const void *p, size_t bytes, bool writes);

/* on: launches and copies wait until the host waits for their stream, or for an event behind them: whoever looks at what
 * they write, or changes what they read, before that is seen. Off: what is still waiting is done in its turn. Not while a
 * stream is in use. */
void cudasim_put_off(int on);

#ifdef __cplusplus
}
#endif

#endif
